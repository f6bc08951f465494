"""Bytes to an upright RGB picture, or a BadImageError that says why not."""

from __future__ import annotations

import io
import re
import warnings
from typing import Final, Literal

from PIL import ExifTags, Image

FORMATS: Final = ("JPEG", "PNG", "WEBP")
"""What Pillow may recognise; its JPEG reader also opens MPO, the JPEG of phones that append a second picture."""
MIN_SIDE: Final = 10
MAX_SIDE: Final = 10_000
MAX_PIXELS: Final = 50_000_000

_SIGNATURE: Final = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP", re.DOTALL)
_TURN_BY_ORIENTATION: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

BadImageCode = Literal["unsupported_format", "bad_dimensions", "too_many_pixels", "corrupt_image"]


class BadImageError(Exception):
    """A picture that cannot be judged; `code` is what the answer carries."""

    def __init__(self, code: BadImageCode) -> None:
        super().__init__(code)
        self.code: BadImageCode = code


def decode(data: bytes | bytearray) -> Image.Image:
    """Decode the first frame of a JPEG, PNG or WebP: upright by EXIF, transparency on white, mode RGB.

    Raises:
        BadImageError: Not such a picture, too small or large, truncated or corrupt.
    """
    image = _open(data)
    _check_size(*image.size)
    try:
        image.load()
        return _to_rgb(_upright(image))
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        raise BadImageError("corrupt_image") from error


def _open(data: bytes | bytearray) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own caps are stricter than Pillow's bomb warning
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise BadImageError("too_many_pixels") from error
    except Exception as error:
        raise BadImageError("corrupt_image" if _SIGNATURE.match(data) else "unsupported_format") from error


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE:
        raise BadImageError("bad_dimensions")
    if width * height > MAX_PIXELS:
        raise BadImageError("too_many_pixels")


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURN_BY_ORIENTATION.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - a broken EXIF block, on which Pillow raises nearly anything, spoils no picture
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips instead of scaling
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")
