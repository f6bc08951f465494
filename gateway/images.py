"""What an image is, from its first bytes and its header alone: pixels are never decoded here."""

import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Final

from PIL.WebPImagePlugin import WebPImageFile

from gateway.blocks import (
    MAX_PNG_TEXT,
    MAX_SCANNED_PIXELS,
    MAX_SCANS,
    Block,
    TooManyBlocksError,
    blocks,
    count_scans,
    exif_blocks,
    is_frame,
    is_trap,
    png_texts,
)
from gateway.errors import CorruptImageError, EmptyFileError, InvalidDimensionsError, InvalidFormatError

RAW_EXIF: Final = "Raw profile type exif"
"""ImageMagick's way to put EXIF into a PNG: hexadecimal digits after three lines."""
HEX_DIGITS_FROM: Final = 3
MEGA: Final = 1_000_000
QUICK_BLOCKS: Final = 32
QUICK_BYTES: Final = 16 * 1024
"""Metadata that is read in less time than a thread takes to be handed the job."""
QUICK_FILE: Final = 1024 * 1024
UNKNOWN: Final = "unknown"
CORRUPT: Final = "The image is truncated or corrupt."
_MAGIC: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (8, b"WEBP", "image/webp"),
    (0, b"GIF8", "image/gif"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"II+\0", "image/tiff"),
    (0, b"MM\0+", "image/tiff"),
    (0, b"\0\0\1\0", "image/x-icon"),
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"\xff\x4f\xff\x51", "image/jp2"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"%PDF", "application/pdf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"PK\3\4", "application/zip"),
)
_BRANDS: Final[Mapping[bytes, str]] = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "image/heic"),
    **dict.fromkeys((b"mif1", b"msf1", b"mif2", b"miaf"), "image/heif"),
    b"crx ": "image/x-canon-cr3",
    b"qt  ": "video/quicktime",
}
"""Of ISO base media files, what they say of themselves; the others are films. HEIF says least of what is inside."""
MAX_BRANDS: Final = 64
_HTML: Final = (b"<!doctype html", b"<html", b"<head", b"<body")
_MARKUP_BYTES: Final = 1024


def read_blocks(data: bytes, kind: str) -> list[Block]:
    """The blocks of a file.

    Raises:
        CorruptImageError: There are millions of them.
    """
    try:
        return list(blocks(data, kind))
    except TooManyBlocksError as error:
        raise CorruptImageError("The image has too many metadata blocks.") from error


def check_blocks(found: list[Block]) -> None:
    """Refuse a file that would choke a reader, the model server's above all.

    Raises:
        CorruptImageError: EXIF whose entries all claim the same bytes.
    """
    exif = [*exif_blocks(found), *_raw_profiles(found)]
    if any(map(is_trap, exif)):
        raise CorruptImageError("The image's metadata is malformed.")


def check_scans(data: bytes, frame: Block, pixels: int) -> None:
    """Refuse a JPEG that decoders would go over more often than any encoder lets them.

    Raises:
        CorruptImageError: Too many scans, or too many for so many pixels.
    """
    try:
        scans = count_scans(data, frame)
    except TooManyBlocksError as error:
        raise CorruptImageError("The image has too many metadata blocks.") from error
    if scans > MAX_SCANS or scans * pixels > MAX_SCANNED_PIXELS:
        raise CorruptImageError("The image has too many scans. Save it anew as JPEG.")


def _raw_profiles(found: list[Block]) -> Iterator[bytes]:
    profiles = list(png_texts(found, {RAW_EXIF}))
    if len(profiles) > 1 or any(len(profile.text) == MAX_PNG_TEXT for profile in profiles):
        raise CorruptImageError("The image's metadata is malformed.")
    for profile in profiles:
        digits = "".join(profile.text.decode("latin-1").split("\n")[HEX_DIGITS_FROM:])
        try:
            yield bytes.fromhex(digits).removeprefix(b"Exif\0\0")
        except ValueError:
            continue  # no reader takes it either


@dataclass(frozen=True)
class ImageLimits:
    """Sides and area in pixels that an image may have."""

    min_side: int
    max_side: int
    max_pixels: int


def content_type(data: bytes) -> str:
    """The media type that the first bytes show, or `unknown`."""
    if data[4:8] == b"ftyp":
        return _of_brands(data)
    return next((kind for offset, magic, kind in _MAGIC if data.startswith(magic, offset)), "") or _of_markup(data)


def _of_brands(data: bytes) -> str:
    """HEIC, AVIF and films, by the major brand, or by one of the compatible ones where that says more."""
    end = min(int.from_bytes(data[:4], "big"), 16 + 4 * MAX_BRANDS)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
    kinds = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return next((kind for kind in kinds if kind != "image/heif"), kinds[0] if kinds else "video/mp4")


def _of_markup(data: bytes) -> str:
    head = data[:_MARKUP_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head.startswith(b"<"):
        return UNKNOWN
    if b"<svg" in head and not head.startswith(_HTML):
        return "image/svg+xml"
    return "text/html" if any(tag in head for tag in _HTML) else UNKNOWN


def pixel_count(data: bytes) -> float:
    """How many pixels a checked image has; infinitely many where its header is long, and reading it would take time."""
    kind = content_type(data)
    if kind not in _SIZES:
        return 0
    size = _SIZES[kind](data, islice(blocks(data, kind), QUICK_BLOCKS))
    return size[0] * size[1] if size else math.inf


def quick_blocks(data: bytes) -> list[Block] | None:
    """The blocks of most photos, with which `check_image` is done in no time: a small JPEG's few and small segments."""
    if content_type(data) != "image/jpeg" or len(data) > QUICK_FILE:
        return None
    try:
        found = list(islice(blocks(data, "image/jpeg"), QUICK_BLOCKS + 1))
    except TooManyBlocksError:
        return None
    return found if len(found) <= QUICK_BLOCKS and sum(len(block.content) for block in found) <= QUICK_BYTES else None


def check_image(data: bytes, limits: ImageLimits, found: list[Block] | None = None) -> None:
    """Refuse what the model server could not judge, from the header; `found` are its blocks where they are known.

    Raises:
        EmptyFileError: No content.
        InvalidFormatError: Neither JPEG, PNG nor WebP.
        CorruptImageError: The header cannot be read, or is made to choke whoever reads it.
        InvalidDimensionsError: Sides or area out of bounds.
    """
    if not data:
        raise EmptyFileError("The uploaded file has no content.")
    kind = content_type(data)
    if kind not in _SIZES:
        raise InvalidFormatError(f"Supported formats: JPEG, PNG, WebP. Got: {kind}")
    found = read_blocks(data, kind) if found is None else found
    check_blocks(found)
    width, height = _read_size(data, kind, found)
    _check_size(width, height, limits)
    if kind == "image/jpeg":
        check_scans(data, next(filter(is_frame, found)), width * height)


def _read_size(data: bytes, kind: str, found: list[Block]) -> tuple[int, int]:
    try:
        if kind == "image/webp":  # Pillow reads no more of it than needed, and all of what decoders will look at
            with WebPImageFile(BytesIO(data)) as image:
                return image.size
        size = _SIZES[kind](data, found)
    except Exception as error:  # Pillow's readers raise nearly anything on hostile bytes
        raise CorruptImageError(CORRUPT) from error
    if size is None:
        raise CorruptImageError(CORRUPT)
    return size


# Not Pillow's readers, which refuse an image for what is wrong with its profile or its comments.
def _jpeg_size(_: bytes, found: Iterable[Block]) -> tuple[int, int] | None:
    frame = next((block.content for block in found if is_frame(block)), b"")
    if len(frame) < 6 or frame[0] != 8 or frame[5] not in {1, 3, 4}:  # noqa: PLR2004 - 8 bits, all that decoders know
        return None
    height, width = struct.unpack_from(">HH", frame, 1)
    return width, height


def _png_size(data: bytes, _: Iterable[Block]) -> tuple[int, int] | None:  # it comes first
    head = data[12:29]
    if head[:4] != b"IHDR" or zlib.crc32(head).to_bytes(4, "big") != data[29:33]:
        return None
    width, height = struct.unpack_from(">II", head, 4)
    return width, height


def _webp_size(data: bytes, _: Iterable[Block]) -> tuple[int, int] | None:  # it comes first
    match data[12:16]:
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
        case _:
            return None


_SIZES: Final = {"image/jpeg": _jpeg_size, "image/png": _png_size, "image/webp": _webp_size}


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if min(width, height) < limits.min_side or max(width, height) > limits.max_side:
        allowed = f"Each side must have {limits.min_side} to {limits.max_side} pixels."
        raise InvalidDimensionsError(f"{allowed} Got: {width}x{height}")
    if width * height > limits.max_pixels:
        allowed = f"At most {limits.max_pixels / MEGA:g} megapixels."
        raise InvalidDimensionsError(f"{allowed} Got: {width}x{height}")
