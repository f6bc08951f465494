"""Statistics of an image as it was received, by which drift is told: of what is served, and of training's reference."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from PIL import Image

SHARPNESS_SIDE: Final = 256
"""Pixels, long side of the grey image that sharpness is measured on."""
GREY_SIDE: Final = 512
"""Pixels that the long side keeps at least when a large image is averaged first, so that its size costs little."""

DEFINITIONS: Final[Mapping[str, str]] = {
    "width": "width in pixels, upright: after EXIF rotation",
    "height": "height in pixels, upright: after EXIF rotation",
    "megapixels": "width x height / 1,000,000",
    "bytes_per_pixel": "bytes of the file / (width x height): how hard it is compressed",
    "brightness": (
        "mean grey level in 0..255 of the image as sRGB, transparency on white, by Pillow's convert('L') and, from a "
        "long side of 1,024 px on, reduce(long // 512)"
    ),
    "sharpness": (
        "variance of the Laplacian: grey as for brightness, the long side scaled to 256 px by Pillow's "
        "resize((max(1, round(width * 256 / long)), max(1, round(height * 256 / long))), BICUBIC), as float64; at "
        "each pixel that is not on the border, the sum of the four neighbours less four times the pixel; numpy's var "
        "of these"
    ),
}


def measure(image: Image.Image, size: int) -> dict[str, float]:
    """Return each statistic of an upright sRGB image whose file has so many bytes; `DEFINITIONS` says what each is."""
    pixels = image.width * image.height
    grey = image.convert("L")
    if (factor := max(image.size) // GREY_SIDE) > 1:
        grey = grey.reduce(factor)
    levels = np.array(grey.histogram())
    return {
        "width": float(image.width),
        "height": float(image.height),
        "megapixels": pixels / 1e6,
        "bytes_per_pixel": size / pixels,
        "brightness": float(levels @ np.arange(levels.size) / levels.sum()),
        "sharpness": _sharpness(grey),
    }


def _sharpness(grey: Image.Image) -> float:
    scale = SHARPNESS_SIDE / max(grey.size)
    width, height = (max(1, round(side * scale)) for side in grey.size)
    levels = np.asarray(grey.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    neighbours = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    laplacian = neighbours - 4 * levels[1:-1, 1:-1]
    return float(laplacian.var()) if laplacian.size else 0.0
