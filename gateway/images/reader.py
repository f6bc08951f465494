"""What an image is, from its first bytes and its header alone: pixels are never decoded here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Final

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gateway.errors import CorruptImageError, EmptyFileError, InvalidDimensionsError, InvalidFormatError
from gateway.images.blocks import TooManyBlocksError, blocks
from gateway.images.traps import check_blocks

MEGA: Final = 1_000_000
QUICK_BLOCKS: Final = 32
QUICK_BYTES: Final = 16 * 1024
"""Metadata that is read in less time than a thread takes to be handed the job."""
UNKNOWN: Final = "unknown"


class _JpegHeader(JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Leave EXIF alone: nobody asks for the density, and hostile EXIF costs time, memory and warnings."""


# Pillow's readers directly: `Image.open` would add its own bomb check, whose limit and warning are global to the
# process, and would try MPO, which is a JPEG with a second picture behind it.
_READERS: Final[Mapping[str, type[ImageFile]]] = {
    "image/jpeg": _JpegHeader,
    "image/png": PngImageFile,
    "image/webp": WebPImageFile,
}

_MAGIC: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (8, b"WEBP", "image/webp"),
    (0, b"GIF8", "image/gif"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"\0\0\1\0", "image/x-icon"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
    (0, b"%PDF", "application/pdf"),
)


@dataclass(frozen=True)
class ImageLimits:
    """Sides and area in pixels that an image may have."""

    min_side: int
    max_side: int
    max_pixels: int


def content_type(data: bytes) -> str:
    """The media type that the first bytes show, or `unknown`."""
    return next((kind for offset, magic, kind in _MAGIC if data.startswith(magic, offset)), UNKNOWN)


def reader_of(data: bytes) -> type[ImageFile]:
    """Pillow's reader for a supported format; KeyError for any other content."""
    return _READERS[content_type(data)]


def is_quick(data: bytes) -> bool:
    """Whether `check_image` is done in no time, as with most photos: a JPEG with few and small segments."""
    if content_type(data) != "image/jpeg":
        return False
    try:
        found = list(islice(blocks(data, "image/jpeg"), QUICK_BLOCKS + 1))
    except TooManyBlocksError:
        return False
    return len(found) <= QUICK_BLOCKS and sum(len(block.content) for block in found) <= QUICK_BYTES


def check_image(data: bytes, limits: ImageLimits) -> None:
    """Refuse what the model server could not judge, from the header.

    Raises:
        EmptyFileError: No content.
        InvalidFormatError: Neither JPEG, PNG nor WebP.
        CorruptImageError: The header cannot be read, or is made to choke whoever reads it.
        InvalidDimensionsError: Sides or area out of bounds.
    """
    if not data:
        raise EmptyFileError("The uploaded file has no content.")
    kind = content_type(data)
    if kind not in _READERS:
        raise InvalidFormatError(f"Supported formats: JPEG, PNG, WebP. Got: {kind}")
    check_blocks(data, kind)
    _check_size(*_read_size(data, _READERS[kind]), limits)


def _read_size(data: bytes, reader: type[ImageFile]) -> tuple[int, int]:
    try:
        with reader(BytesIO(data)) as image:
            return image.size
    except Exception as error:  # Pillow's readers raise nearly anything on hostile bytes
        raise CorruptImageError("The image is truncated or corrupt.") from error


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if min(width, height) < limits.min_side or max(width, height) > limits.max_side:
        allowed = f"Each side must have {limits.min_side} to {limits.max_side} pixels."
        raise InvalidDimensionsError(f"{allowed} Got: {width}x{height}")
    if width * height > limits.max_pixels:
        allowed = f"At most {limits.max_pixels / MEGA:g} megapixels."
        raise InvalidDimensionsError(f"{allowed} Got: {width}x{height}")
