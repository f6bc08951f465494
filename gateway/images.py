"""What an image is, from its first bytes and its header alone: pixels are never decoded here."""

import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from itertools import islice
from typing import Final, NamedTuple

from PIL.WebPImagePlugin import WebPImageFile

from gateway.blocks import (
    MAX_PNG_TEXT,
    MAX_SCANS,
    Block,
    blocks,
    count_scans,
    exif_blocks,
    is_frame,
    is_trap,
    png_texts,
)
from gateway.errors import CorruptImageError, EmptyFileError, InvalidDimensionsError, InvalidFormatError
from gateway.settings import Settings

RAW_EXIF: Final = "Raw profile type exif"
"""ImageMagick's way to put EXIF into a PNG: hexadecimal digits after three lines."""
HEX_DIGITS_FROM: Final = 3
MEGA: Final = 1_000_000
QUICK_BLOCKS: Final = 32
QUICK_BYTES: Final = 16 * 1024
"""Metadata that is read in less time than a thread takes to be handed the job."""
QUICK_FILE: Final = 1024 * 1024
UNKNOWN: Final = "unknown"
MALFORMED: Final = "The image's metadata is malformed."
MAX_SCANNED_PIXELS: Final = 1_000_000_000
"""Pixels that all scans of a JPEG may go over together."""
_MAGIC: Final[Mapping[str, tuple[bytes, ...]]] = {
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/gif": (b"GIF8",),
    "image/bmp": (b"BM",),
    "image/tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "image/x-icon": (b"\0\0\1\0",),
    "image/jxl": (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
    "image/jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "application/pdf": (b"%PDF",),
}
_BRANDS: Final[Mapping[bytes, str]] = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "image/heic"),
    **dict.fromkeys((b"mif1", b"msf1", b"mif2", b"miaf"), "image/heif"),
}
"""Of ISO base media files, what they say of themselves, most telling first; the others are films."""
_BRANDS_BYTES: Final = 272
_MARKUP_BYTES: Final = 1024


class CheckedImage(NamedTuple):
    """A checked image: the file's bytes, unchanged, and how many pixels its header says."""

    data: bytes
    pixels: int


def content_type(data: bytes) -> str:
    """The media type that the first bytes show, or `unknown`."""
    if data[4:8] == b"ftyp":
        return _of_brands(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    known = next((kind for kind, starts in _MAGIC.items() if data.startswith(starts)), UNKNOWN)
    return "image/svg+xml" if known == UNKNOWN and b"<svg" in data[:_MARKUP_BYTES] else known


def _of_brands(data: bytes) -> str:
    brands = data[8 : min(int.from_bytes(data[:4], "big"), _BRANDS_BYTES)]
    return next((kind for brand, kind in _BRANDS.items() if brand in brands), "video/mp4")


def is_quick(data: bytes) -> bool:
    """Whether `check_image` is done in no time: with the few and small segments of most JPEGs."""
    if content_type(data) != "image/jpeg" or len(data) > QUICK_FILE:
        return False
    try:
        found = list(islice(blocks(data, "image/jpeg"), QUICK_BLOCKS + 1))
    except CorruptImageError:
        return False
    return len(found) <= QUICK_BLOCKS and sum(len(block.content) for block in found) <= QUICK_BYTES


def check_image(data: bytes, limits: Settings) -> CheckedImage:
    """Refuse what the model server could not predict, from the header.

    Raises:
        EmptyFileError: No content.
        InvalidFormatError: Neither JPEG, PNG nor WebP.
        CorruptImageError: The header cannot be read, or is made to choke whoever reads it.
        InvalidDimensionsError: Sides or area out of bounds.
    """
    if not data:
        raise EmptyFileError("The uploaded file has no content.")
    kind = content_type(data)
    if kind not in {"image/jpeg", "image/png", "image/webp"}:
        raise InvalidFormatError(f"Supported formats: JPEG, PNG, WebP. Got: {kind}")
    found = list(blocks(data, kind))
    if any(map(is_trap, [*exif_blocks(found), *_raw_profiles(found)])):
        raise CorruptImageError(MALFORMED)
    size = _jpeg_size(found) if kind == "image/jpeg" else _png_size(data) if kind == "image/png" else _webp_size(data)
    if size is None:
        raise CorruptImageError("The image is truncated or corrupt.")
    width, height = size
    _check_size(width, height, limits)
    if kind == "image/jpeg":
        scans = count_scans(data, next(filter(is_frame, found)))
        if scans > MAX_SCANS or scans * width * height > MAX_SCANNED_PIXELS:
            raise CorruptImageError("The image has too many scans. Save it anew as JPEG.")
    return CheckedImage(data, width * height)


def _raw_profiles(found: list[Block]) -> list[bytes]:
    profiles = [text for _, text in png_texts(found, {RAW_EXIF})]
    if len(profiles) > 1 or any(len(text) == MAX_PNG_TEXT for text in profiles):
        raise CorruptImageError(MALFORMED)
    digits = ["".join(text.decode("latin-1").split("\n")[HEX_DIGITS_FROM:]) for text in profiles]
    try:
        return [bytes.fromhex(each).removeprefix(b"Exif\0\0") for each in digits]
    except ValueError:
        return []  # no reader takes it either


# Of JPEG and PNG not Pillow's readers, which refuse an image for what is wrong with its profile or its comments.
def _jpeg_size(found: list[Block]) -> tuple[int, int] | None:
    frame = next((block.content for block in found if is_frame(block)), b"")
    if len(frame) < 6 or frame[0] != 8 or frame[5] not in {1, 3, 4}:  # noqa: PLR2004 - 8 bits, all that decoders know
        return None
    height, width = struct.unpack_from(">HH", frame, 1)
    return width, height


def _png_size(data: bytes) -> tuple[int, int] | None:  # it comes first
    head = data[12:29]
    if head[:4] != b"IHDR" or zlib.crc32(head).to_bytes(4, "big") != data[29:33]:
        return None
    width, height = struct.unpack_from(">II", head, 4)
    return width, height


def _webp_size(data: bytes) -> tuple[int, int] | None:
    try:
        with WebPImageFile(BytesIO(data)) as image:  # it reads no more than needed, and all that decoders will look at
            return image.size
    except Exception:  # noqa: BLE001 - on hostile bytes it raises nearly anything
        return None


def _check_size(width: int, height: int, limits: Settings) -> None:
    if min(width, height) < limits.min_side_pixels or max(width, height) > limits.max_side_pixels:
        allowed = f"Each side must have {limits.min_side_pixels} to {limits.max_side_pixels} pixels."
        raise InvalidDimensionsError(f"{allowed} Got: {width}x{height}")
    if width * height > limits.max_pixels:
        allowed = f"At most {limits.max_pixels / MEGA:g} megapixels."
        raise InvalidDimensionsError(f"{allowed} Got: {width}x{height}")
