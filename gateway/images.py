"""What an image is, from its first bytes, its header and its metadata's blocks: pixels are never decoded here.

A file is made of blocks: JPEG has segments, PNG and WebP have chunks. Readers go through them in Python, one by one, so
a file of millions of tiny ones would hold a processor for seconds, here as in the model server. Pillow's readers bound
neither these nor the entries of EXIF, so what they would read is looked at here first, within a bound.
"""

import re
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from io import BytesIO
from itertools import islice
from typing import Final, NamedTuple

from PIL.WebPImagePlugin import WebPImageFile

from gateway.errors import CorruptImageError, EmptyFileError, InvalidDimensionsError, InvalidFormatError
from gateway.settings import Settings

MAX_STEPS: Final = 20_000
"""Blocks, and bytes of filling between the segments of a JPEG, that a file may have; real ones have tens."""
MAX_SCANS: Final = 100
"""Scans that a JPEG may have, each of which costs a pass over the whole image; encoders write about ten."""
MAX_PNG_TEXT: Final = 256 * 1024
"""Bytes of one text of a PNG that are looked at; more is never unpacked."""
MAX_TEXTS: Final = 50
"""Texts of a PNG that are looked at."""
MAX_KEYWORD: Final = 79

_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
_START_OF_IMAGE: Final = 0xD8
_END_OF_IMAGE: Final = 0xD9
_START_OF_SCAN: Final = 0xDA
_FILLING: Final = 0xFF
_WITHOUT_LENGTH: Final = frozenset({0x00, 0x01, *range(0xD0, 0xD9), _FILLING})
_SIGNATURE: Final = b"Exif\0\0"
_MULTI_PICTURE: Final = b"MPF\0"
_ENTRY: Final = 12
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
RAW_EXIF: Final = "Raw profile type exif"
"""ImageMagick's way to put EXIF into a PNG: hexadecimal digits after three lines."""
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


class Block(NamedTuple):
    """One segment or chunk: its name (of a JPEG segment, the marker's byte) and its content, perhaps cut off."""

    name: bytes
    content: bytes


def is_frame(block: Block) -> bool:
    """Whether this is the one segment of a JPEG that tells its size."""
    return block.name[0] in _FRAMES


def blocks(data: bytes, kind: str) -> Iterator[Block]:
    """The blocks of a file, of a JPEG up to its pixels; raises CorruptImageError where there is no end to them."""
    return _segments(data) if kind == "image/jpeg" else _chunks(data, is_png=kind == "image/png")


def count_scans(data: bytes, frame: Block) -> int:
    """A JPEG's scans, or one more than there may be; raises CorruptImageError where segments have no end."""
    scans, at = 0, 2
    for _ in range(MAX_STEPS):
        marker = _MARKER.search(data, at)
        if marker is None or (code := data[marker.end() - 1]) in {_START_OF_IMAGE, _END_OF_IMAGE}:
            return scans
        at = marker.end() + max(int.from_bytes(data[marker.end() : marker.end() + 2], "big"), 2)
        if code == _START_OF_SCAN:
            scans += 1
            whole = data[marker.end() + 2 : marker.end() + 3] == frame.content[5:6]
            if scans > MAX_SCANS or (whole and frame.name[0] not in _PROGRESSIVE):
                return scans
    raise _endless()


def _endless() -> CorruptImageError:
    return CorruptImageError("The image has too many metadata blocks.")


def _segments(data: bytes) -> Iterator[Block]:
    at, left = 2, MAX_STEPS
    while (mark := data.find(b"\xff", at, at + MAX_STEPS + 1)) >= 0 and mark + 4 <= len(data):
        left -= 1 + mark - at
        if left < 0:
            raise _endless()
        code = data[mark + 1]
        if code in _WITHOUT_LENGTH:
            at = mark + (1 if code == _FILLING else 2)
            continue
        if code in {_START_OF_SCAN, _END_OF_IMAGE}:
            return
        end = mark + 2 + max(int.from_bytes(data[mark + 2 : mark + 4]), 2)
        yield Block(bytes([code]), data[mark + 4 : end])
        at = end
    if len(data) - at > MAX_STEPS:
        raise _endless()  # filling alone


def _chunks(data: bytes, *, is_png: bool) -> Iterator[Block]:
    at = 8 if is_png else 12
    for _ in range(MAX_STEPS):
        if at + 8 > len(data):
            return
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        name, size = (second, int.from_bytes(first)) if is_png else (first, int.from_bytes(second, "little"))
        yield Block(name, data[at + 8 : at + 8 + size])
        at += 8 + size + (4 if is_png else size % 2)  # a checksum, or filling
    raise _endless()


class Entry(NamedTuple):
    """One entry of an EXIF directory: its tag, the bytes of its value, and the value's offset in the block."""

    tag: int
    size: int
    at: int


def exif_blocks(found: Iterable[Block]) -> list[bytes]:
    """The EXIF blocks among an image's blocks, without their signature; those of a JPEG continue each other."""
    joined: list[bytes] = []
    others: list[bytes] = []
    for name, content in found:
        if name == b"\xe1" and content.startswith(_SIGNATURE):
            joined.append(_bare(content))
        elif name in {b"eXIf", b"EXIF"}:
            others.append(_bare(content))
        elif name == b"\xe2" and content.startswith(_MULTI_PICTURE):
            others.append(content.removeprefix(_MULTI_PICTURE))
    return [b"".join(joined), *others] if joined else others


def is_trap(exif: bytes) -> bool:
    """Whether the entries claim far more bytes than there are: they overlap, and whoever copies each will choke."""
    claimed = sum(entry.size for entry in directory(exif, 4) if entry.at + entry.size <= len(exif))
    return claimed > 2 * len(exif)


def _bare(content: bytes) -> bytes:
    return re.sub(rb"\A(?:Exif\0\0)+", b"", content)


def directory(exif: bytes, pointer: int) -> Iterator[Entry]:
    """The directory whose offset stands at `pointer`."""
    start = _number(exif, "I", pointer) + 2
    stop = start + _ENTRY * _number(exif, "H", start - 2)
    for at in range(start, min(stop, len(exif) - _ENTRY + 1), _ENTRY):
        tag, kind, count = struct.unpack_from(_order(exif) + "HHI", exif, at)
        size = count * _SIZES.get(kind, 0)
        yield Entry(tag, size, at + 8 if size <= 4 else _number(exif, "I", at + 8))  # noqa: PLR2004 - small values stay in the entry


def _number(exif: bytes, kind: str, at: int) -> int:
    """A number of the block, or 0 where there is none."""
    try:
        return int(struct.unpack_from(_order(exif) + kind, exif, at)[0])
    except struct.error:
        return 0


def _order(exif: bytes) -> str:
    return ">" if exif.startswith(b"MM") else "<"


def png_texts(found: Iterable[Block], keywords: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Keyword and beginning of the texts among a PNG's blocks under some keywords; a broken one is passed over."""
    left = MAX_TEXTS
    for name, content in found:
        if not left or name not in {b"tEXt", b"zTXt", b"iTXt"}:
            continue
        keyword = content[: MAX_KEYWORD + 1].partition(b"\0")[0].decode("latin-1")
        if keyword in keywords:
            left -= 1
            text = _text(name, content[len(keyword) + 1 :])
            if text is not None:
                yield keyword, text


def _text(kind: bytes, rest: bytes) -> bytes | None:
    if kind == b"tEXt":
        return rest[:MAX_PNG_TEXT]
    if kind == b"zTXt":
        return _unpacked(rest[1:])
    packed = rest[:1] == b"\1"
    parts = rest[2:].split(b"\0", 2)  # language, translated keyword, text
    if len(parts) < 3:  # noqa: PLR2004
        return None
    return _unpacked(parts[2]) if packed else parts[2][:MAX_PNG_TEXT]


def _unpacked(data: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(data, MAX_PNG_TEXT)
    except zlib.error:
        return None


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
    digits = ["".join(text.decode("latin-1").split("\n")[3:]) for text in profiles]
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
        allowed = f"At most {limits.max_pixels / 1_000_000:g} megapixels."
        raise InvalidDimensionsError(f"{allowed} Got: {width}x{height}")
