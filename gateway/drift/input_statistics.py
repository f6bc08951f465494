"""Statistics of pictures as they were received: those of the drift reference, without a full decode where one can."""

from __future__ import annotations

from io import BytesIO
from typing import Final, Literal

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from gateway.images.reader import reader_of

InputName = Literal["width", "height", "megapixels", "bytes_per_pixel", "brightness", "sharpness"]

SHARPNESS_SIDE: Final = 256
"""Pixels, long side of the grey picture that sharpness is measured on; the reference's own number."""
DRAFT_SIDE: Final = 512
"""Pixels that the long side of a JPEG keeps at least when it is decoded smaller than it is."""
SIDEWAYS: Final = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""


def measure(data: bytes, max_decoded_pixels: int) -> dict[InputName, float]:
    """What can be told of a picture: brightness and sharpness only up to so many pixels, nothing if it is broken.

    The reference names each statistic and says how it is taken. A JPEG is decoded smaller here, and its own luma is
    taken as its grey, so brightness and sharpness come close to the reference's way and are not equal to it.
    """
    try:
        with reader_of(data)(BytesIO(data)) as image:
            area = image.width * image.height
            sides = image.size
            grey = _grey(image) if area <= max_decoded_pixels else None
            width, height = sides[::-1] if _is_sideways(image) else sides
    except Exception:  # noqa: BLE001 - Pillow's readers raise nearly anything on hostile bytes
        return {}
    found: dict[InputName, float] = {
        "width": float(width),
        "height": float(height),
        "megapixels": area / 1e6,
        "bytes_per_pixel": len(data) / area,
    }
    if grey is not None:
        found |= {"brightness": _brightness(grey), "sharpness": _sharpness(grey)}
    return found


def _grey(image: ImageFile) -> Image.Image:
    scale = DRAFT_SIDE / max(image.size)
    # Only Pillow's JPEG reader can decode smaller; for the others this does nothing.
    image.draft("L", (round(image.width * scale), round(image.height * scale)))
    image.load()
    return _on_white(image).convert("L")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips instead of scaling
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "L" else image.convert("RGB")


def _is_sideways(image: Image.Image) -> bool:
    try:
        # Not the PNG reader's own method, which decodes the whole picture to look for a block behind it.
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation) in SIDEWAYS
    except Exception:  # noqa: BLE001 - a broken EXIF block spoils no picture
        return False


def _brightness(grey: Image.Image) -> float:
    counts = np.array(grey.histogram())
    return float(counts @ np.arange(counts.size) / counts.sum())


def _sharpness(grey: Image.Image) -> float:
    scale = SHARPNESS_SIDE / max(grey.size)
    width, height = (max(1, round(side * scale)) for side in grey.size)
    levels = np.asarray(grey.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    neighbours = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    laplacian = neighbours - 4 * levels[1:-1, 1:-1]
    return float(laplacian.var()) if laplacian.size else 0.0
