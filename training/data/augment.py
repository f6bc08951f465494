"""Random views of training images: one pipeline for both classes, so that compression does not reveal the label.

Every step is drawn alike for both classes: scale and its kernel, JPEG and WebP before and after scaling, blur, noise,
colour, backgrounds made white. Windows reach from native pixels, which carry a generator's traces, to whole images.
"""

import io
import math
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageFilter
from scipy import ndimage
from torchvision.transforms import v2

from handler.spec import ModelSpec
from handler.transforms import Views, as_pixels, normalise
from training.params import AugmentParams

T = TypeVar("T")
KERNELS = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BOX,
    Image.Resampling.HAMMING,
)
PLAIN_SHARES = (0.15, 0.9)
"""Share of an image that its background must cover to be made white."""


def training_transform(spec: ModelSpec, params: AugmentParams, size: int) -> v2.Transform:
    """Return a transform of an RGB image to views as serving has them: one window, float32, (1, 3, size, size)."""
    recompress = v2.RandomApply([Recompress(params)], p=params.recompress_probability)
    colour = v2.ColorJitter(params.colour_jitter, params.colour_jitter, params.colour_jitter)
    return v2.Compose(
        [
            v2.RandomApply([WhiteBackground()], p=params.white_background_probability),
            v2.RandomApply([Rescale(params)], p=params.rescale_probability),
            recompress,
            Window(params, size),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([Blur(params)], p=params.blur_probability),
            v2.RandomApply([colour], p=params.colour_probability),
            recompress,
            v2.RandomApply([Noise(params)], p=params.noise_probability),
            Normalise(spec),
        ]
    )


def degradations(params: AugmentParams) -> v2.Transform:
    """Return what may become of an image on its way to us, from an RGB image to another, before serving's own path.

    For a frozen network, whose features of an image are computed but a few times: no window of the image alone, but
    most of it. Both classes are drawn alike.
    """
    recompress = v2.RandomApply([Recompress(params)], p=params.recompress_probability)
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomApply([WhiteBackground()], p=params.white_background_probability),
            v2.RandomApply([Crop(params)], p=params.crop_probability),
            v2.RandomApply([Canvas()], p=params.white_background_probability),
            recompress,
            v2.RandomApply([Rescale(params)], p=params.rescale_probability),
            v2.RandomApply([Blur(params)], p=params.blur_probability),
            recompress,
            v2.RandomApply([Noise(params)], p=params.noise_probability),
        ]
    )


class Step(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """A step from an RGB image to another."""

    def transform(self, inpt: Image.Image, params: dict[str, object]) -> Image.Image:  # noqa: ARG002 - v2's signature
        """Return the changed image."""
        return self.change(inpt)

    def change(self, image: Image.Image) -> Image.Image:
        """Return the changed image."""
        raise NotImplementedError


class Rescale(Step):
    """Scale by a random factor with a random kernel, as shops and messengers do."""

    def __init__(self, params: AugmentParams) -> None:
        super().__init__()
        self.factors = (params.rescale_min, params.rescale_max)

    def change(self, image: Image.Image) -> Image.Image:
        """Return the scaled image."""
        factor = _uniform(*self.factors)
        size = (max(32, round(image.width * factor)), max(32, round(image.height * factor)))
        return image.resize(size, _kernel())


class Recompress(Step):
    """Save as JPEG or WebP of random quality and load again."""

    def __init__(self, params: AugmentParams) -> None:
        super().__init__()
        self.qualities = (params.quality_min, params.quality_max)
        self.webp_share = params.webp_share

    def change(self, image: Image.Image) -> Image.Image:
        """Return what a reader of the file would see."""
        quality = round(_uniform(*self.qualities))
        if _uniform(0, 1) < self.webp_share:
            return saved(image, "WEBP", quality=quality, method=0)
        return saved(image, "JPEG", quality=quality, subsampling=_choose((0, 2, 2)))


class Window(Step):
    """Cut a random window, from native pixels to the whole shorter side, and scale it to the network's input."""

    def __init__(self, params: AugmentParams, size: int) -> None:
        super().__init__()
        self.min_side, self.native_share, self.size = params.window_min_side, params.native_share, size

    def change(self, image: Image.Image) -> Image.Image:
        """Return an image of size x size pixels; a native window is not scaled unless the image is smaller."""
        shorter = min(image.size)
        if _uniform(0, 1) < self.native_share and shorter >= self.size:
            x, y = (int(_uniform(0, side - self.size)) for side in image.size)
            return image.crop((x, y, x + self.size, y + self.size))
        side = math.exp(_uniform(math.log(min(self.min_side, shorter)), math.log(shorter)))
        aspect = math.exp(_uniform(-0.15, 0.15))
        width, height = min(image.width, side * aspect), min(image.height, side / aspect)
        left, top = _uniform(0, image.width - width), _uniform(0, image.height - height)
        return image.resize((self.size, self.size), _kernel(), box=(left, top, left + width, top + height))


class Crop(Step):
    """Cut off the margins, each side by itself."""

    def __init__(self, params: AugmentParams) -> None:
        super().__init__()
        self.min_share = params.crop_min_share

    def change(self, image: Image.Image) -> Image.Image:
        """Return a random part of the image, of at least the least share of each side."""
        width, height = (max(1, round(side * _uniform(self.min_share, 1))) for side in image.size)
        left, top = round(_uniform(0, image.width - width)), round(_uniform(0, image.height - height))
        return image.crop((left, top, left + width, top + height))


class Canvas(Step):
    """Put the image smaller on a white canvas, as listings with margins do."""

    def change(self, image: Image.Image) -> Image.Image:
        """Return an image of the same size."""
        share = _uniform(0.6, 0.95)
        size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
        small = image.resize(size, _kernel())
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(small, ((image.width - small.width) // 2, (image.height - small.height) // 2))
        return canvas


class Blur(Step):
    """Gaussian blur of a random radius, in pixels."""

    def __init__(self, params: AugmentParams) -> None:
        super().__init__()
        self.radius_max = params.blur_radius_max

    def change(self, image: Image.Image) -> Image.Image:
        """Return the blurred image."""
        return image.filter(ImageFilter.GaussianBlur(_uniform(0.2, self.radius_max)))


class Noise(Step):
    """Gaussian noise of a random standard deviation, in levels of 255."""

    def __init__(self, params: AugmentParams) -> None:
        super().__init__()
        self.deviation_max = params.noise_deviation_max

    def change(self, image: Image.Image) -> Image.Image:
        """Return the noisy image."""
        noise = torch.randn(image.height, image.width, 3).numpy() * _uniform(1, self.deviation_max)
        return Image.fromarray((np.asarray(image, dtype=np.float32) + noise).clip(0, 255).astype(np.uint8))


class WhiteBackground(Step):
    """Make a plain background white, as listings do; an image without one stays as it is."""

    def change(self, image: Image.Image) -> Image.Image:
        """Return the image with all that touches its border in the border's colour made white, softly."""
        pixels = np.asarray(image, dtype=np.int16)
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        alike = np.abs(pixels - np.median(border, axis=0)).max(axis=2) < _uniform(14, 40)
        regions, _ = ndimage.label(alike)
        touching = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
        background = np.isin(regions, touching[touching > 0])
        low, high = PLAIN_SHARES
        if not low < background.mean() < high:
            return image
        mask = ndimage.gaussian_filter(background.astype(np.float32), 0.7)[..., None]
        white = _choose((255.0, 255.0, _uniform(225, 255)))
        return Image.fromarray((pixels * (1 - mask) + white * mask).clip(0, 255).astype(np.uint8))


class Normalise(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """The last step of serving's own path."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec

    def transform(self, inpt: Image.Image, params: dict[str, object]) -> Views:  # noqa: ARG002 - v2's signature
        """Return the image as the only view: normalised, float32, shape (1, 3, height, width)."""
        return [normalise(as_pixels(inpt), self.spec).unsqueeze(0)]


def saved(image: Image.Image, file_format: str, **options: int) -> Image.Image:
    """Return the image as it is after being saved in a format and loaded again."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    file.seek(0)
    return Image.open(file).convert("RGB")


def _uniform(low: float, high: float) -> float:
    """Draw from torch's generator, which Lightning seeds in every data worker."""
    return low + (high - low) * float(torch.rand(()))


def _choose(options: tuple[T, ...]) -> T:
    return options[int(torch.randint(len(options), ()))]


def _kernel() -> Image.Resampling:
    return _choose(KERNELS)
