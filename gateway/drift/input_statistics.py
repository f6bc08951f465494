"""Statistics of pictures as they were received: those of the drift reference, without a full decode where one can."""

from __future__ import annotations

import ctypes
from contextlib import suppress
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
WHOLE_PIXELS: Final = 4_000_000
"""Pixels that a picture may have that can only be decoded whole: a PNG, a WebP or a progressive JPEG."""
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
            most = min(max_decoded_pixels, WHOLE_PIXELS) if _is_decoded_whole(image) else max_decoded_pixels
            grey = _grey(image) if area <= most else None
            width, height = sides[::-1] if _is_sideways(image) else sides
    except Exception:  # noqa: BLE001 - Pillow's readers raise nearly anything on hostile bytes
        return {}
    finally:
        _give_back_memory()
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
    return _on_white(image)


def _on_white(image: Image.Image) -> Image.Image:
    """Grey, made with few copies: each of them is as large as the picture."""
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips instead of scaling
        return image.convert("I").point(lambda value: value / 256).convert("L")
    if not image.has_transparency_data:
        return image if image.mode == "L" else image.convert("L")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("L", rgba.size, "white")
    white.paste(rgba.convert("L"), mask=rgba.getchannel("A"))
    return white


def _is_decoded_whole(image: ImageFile) -> bool:
    return image.format != "JPEG" or "progressive" in image.info


def _is_sideways(image: ImageFile) -> bool:
    exif = Image.Exif()  # not the image's own, which would take XMP's orientation as well: no decoder turns by that
    try:
        exif.load(image.info.get("exif", b""))
        return exif.get(ExifTags.Base.Orientation) in SIDEWAYS
    except Exception:  # noqa: BLE001 - a broken EXIF block spoils no picture
        return False


def _give_back_memory() -> None:
    with suppress(OSError, AttributeError):  # only glibc has it; what this thread freed would stay in its arena
        ctypes.CDLL(None).malloc_trim(0)


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
