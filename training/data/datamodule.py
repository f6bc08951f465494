"""What training sees of images: batches of random views, by one pipeline for both classes.

Every step is drawn alike for both classes, so that compression does not reveal the label: scale and its kernel, JPEG
and WebP before and after scaling, blur, noise, colour, backgrounds made white. Windows reach from native pixels, which
carry a generator's traces, to whole images. Other splits are seen by serving's own transform.
"""

import io
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image, ImageFilter
from scipy import ndimage
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler
from torchvision.transforms import v2

from handler.spec import ModelSpec
from handler.transforms import Views, as_pixels, normalise, to_views
from training.data.manifest import LABELS, Photo, of_split, read_manifest, read_photo, sampling_weights
from training.params import AugmentParams, Params

Batch = tuple[Views, torch.Tensor]
"""Views of images, of each size a shape (N, V, 3, side, side), and labels, shape (N,)."""
Degrade = Callable[[Image.Image], Image.Image]
"""A deterministic change to an RGB image, as compression or scaling on its way to us would make it."""
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
    colour = v2.ColorJitter(params.colour_jitter, params.colour_jitter, params.colour_jitter)
    return v2.Compose(
        [
            _sometimes(white_background, params.white_background_probability),
            _sometimes(rescale, params.rescale_probability, params),
            _sometimes(recompress, params.recompress_probability, params),
            v2.Lambda(partial(window, params=params, size=size)),
            v2.RandomHorizontalFlip(),
            _sometimes(blur, params.blur_probability, params),
            v2.RandomApply([colour], p=params.colour_probability),
            _sometimes(recompress, params.recompress_probability, params),
            _sometimes(noise, params.noise_probability, params),
            v2.Lambda(partial(_serving_views, spec=spec)),
        ]
    )


def degradations(params: AugmentParams) -> v2.Transform:
    """Return what may become of an image on its way to us, from an RGB image to another, before serving's own path.

    For a frozen network, whose features of an image are computed but a few times: no window of the image alone, but
    most of it. Both classes are drawn alike.
    """
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            _sometimes(white_background, params.white_background_probability),
            _sometimes(crop, params.crop_probability, params),
            _sometimes(canvas, params.white_background_probability),
            _sometimes(recompress, params.recompress_probability, params),
            _sometimes(rescale, params.rescale_probability, params),
            _sometimes(blur, params.blur_probability, params),
            _sometimes(recompress, params.recompress_probability, params),
            _sometimes(noise, params.noise_probability, params),
        ]
    )


def _sometimes(
    change: Callable[..., Image.Image], probability: float, params: AugmentParams | None = None
) -> v2.Transform:
    return v2.RandomApply([v2.Lambda(partial(change, params=params) if params else change)], p=probability)


def _serving_views(image: Image.Image, spec: ModelSpec) -> Views:
    """Return the image as the only view, by the last step of serving's own path."""
    return [normalise(as_pixels(image), spec).unsqueeze(0)]


def rescale(image: Image.Image, params: AugmentParams) -> Image.Image:
    """Scale by a random factor with a random kernel, as shops and messengers do."""
    factor = _uniform(params.rescale_min, params.rescale_max)
    size = (max(32, round(image.width * factor)), max(32, round(image.height * factor)))
    return image.resize(size, _kernel())


def recompress(image: Image.Image, params: AugmentParams) -> Image.Image:
    """Save as JPEG or WebP of random quality and load again."""
    quality = round(_uniform(params.quality_min, params.quality_max))
    if _uniform(0, 1) < params.webp_share:
        return saved(image, "WEBP", quality=quality, method=0)
    return saved(image, "JPEG", quality=quality, subsampling=_choose((0, 2, 2)))


def window(image: Image.Image, params: AugmentParams, size: int) -> Image.Image:
    """Cut a random window, from native pixels to the whole shorter side, and scale it to size x size pixels.

    A native window is not scaled unless the image is smaller.
    """
    shorter = min(image.size)
    if _uniform(0, 1) < params.native_share and shorter >= size:
        x, y = (int(_uniform(0, side - size)) for side in image.size)
        return image.crop((x, y, x + size, y + size))
    side = math.exp(_uniform(math.log(min(params.window_min_side, shorter)), math.log(shorter)))
    aspect = math.exp(_uniform(-0.15, 0.15))
    width, height = min(image.width, side * aspect), min(image.height, side / aspect)
    left, top = _uniform(0, image.width - width), _uniform(0, image.height - height)
    return image.resize((size, size), _kernel(), box=(left, top, left + width, top + height))


def crop(image: Image.Image, params: AugmentParams) -> Image.Image:
    """Cut off the margins, each side by itself, down to the least share at most."""
    width, height = (max(1, round(side * _uniform(params.crop_min_share, 1))) for side in image.size)
    left, top = round(_uniform(0, image.width - width)), round(_uniform(0, image.height - height))
    return image.crop((left, top, left + width, top + height))


def canvas(image: Image.Image) -> Image.Image:
    """Put the image smaller on a white canvas of its size, as listings with margins do."""
    share = _uniform(0.6, 0.95)
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return on_white(image.resize(size, _kernel()), image.size)


def on_white(small: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a white canvas of a size with an image in its middle."""
    canvas = Image.new("RGB", size, "white")
    canvas.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    return canvas


def blur(image: Image.Image, params: AugmentParams) -> Image.Image:
    """Blur by a Gaussian of a random radius, in pixels."""
    return image.filter(ImageFilter.GaussianBlur(_uniform(0.2, params.blur_radius_max)))


def noise(image: Image.Image, params: AugmentParams) -> Image.Image:
    """Add Gaussian noise of a random standard deviation, in levels of 255."""
    added = torch.randn(image.height, image.width, 3).numpy() * _uniform(1, params.noise_deviation_max)
    return Image.fromarray((np.asarray(image, dtype=np.float32) + added).clip(0, 255).astype(np.uint8))


def white_background(image: Image.Image) -> Image.Image:
    """Make a plain background white, softly, as listings do; an image without one stays as it is.

    The background is all that touches the border in the border's colour.
    """
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


class PhotoDataset(Dataset[tuple[Views, torch.Tensor]]):
    """Pairs of an image's views, as serving has them, and its label as a float scalar (1 = AI-generated)."""

    def __init__(self, photos: Sequence[Photo], root: Path, transform: Callable[[Image.Image], Views]) -> None:
        self.photos, self.root, self.transform = photos, root, transform

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[Views, torch.Tensor]:
        photo = self.photos[index]
        return self.transform(read_photo(self.root, photo)), torch.tensor(float(LABELS.index(photo.label)))


class PhotoDataModule(pl.LightningDataModule):
    """Batches of views of images, with labels, from the manifest's splits."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.params, self.spec = params, params.model.spec()
        self.photos: list[Photo] = []

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - every stage needs the manifest
        """Read the manifest once."""
        if not self.photos:
            self.photos = read_manifest(self.params.data.root, self.params.data.manifest)

    def dataset(self, photos: Sequence[Photo]) -> PhotoDataset:
        """Return images as serving sees them, deterministic and in order."""
        return PhotoDataset(photos, self.params.data.root, partial(to_views, spec=self.spec))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return augmented batches of the trainer's epoch (the first one without a trainer).

        They are drawn so that classes count alike and large sources do not drown small ones.
        """
        train = self.params.train
        photos = of_split(self.photos, "train")
        size = train.window_size(self.trainer.current_epoch if self.trainer else 0)
        dataset = PhotoDataset(photos, self.params.data.root, training_transform(self.spec, self.params.augment, size))
        sampler = WeightedRandomSampler(sampling_weights(photos, train.source_power), num_samples=len(photos))
        return self._loader(dataset, train.batch_size, sampler=sampler, drop_last=len(photos) > 1)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the dev split."""
        return self._loader(self.dataset(of_split(self.photos, "dev")), self.params.evaluate.batch_size)

    def _loader(self, dataset: PhotoDataset, batch_size: int, **options: Any) -> DataLoader[Batch]:  # noqa: ANN401
        workers = self.params.data.num_workers
        return DataLoader(
            dataset,
            batch_size=min(batch_size, len(dataset)),
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            **options,
        )
