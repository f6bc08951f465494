"""The blocks that an image file is made of, walked without decoding anything and within a bound.

JPEG has segments, PNG and WebP have chunks. Readers go through them in Python, one by one, so a file of millions of
tiny ones would hold a processor for seconds, here as in the model server. Pillow's readers bound neither these nor the
entries of EXIF, so what they would read is looked at here first.
"""

import re
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from gateway.errors import CorruptImageError

MAX_STEPS: Final = 20_000
"""Blocks, and bytes of filling between the segments of a JPEG, that a file may have; real ones have tens."""
MAX_SCANS: Final = 100
"""Scans that a JPEG may have, each of which costs a pass over the whole image; encoders write about ten."""
MAX_TEXT: Final = 64 * 1024
"""Bytes of an EXIF value that are looked at."""
MAX_ENTRIES: Final = 500
"""Entries of an EXIF directory that are looked at."""
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
_DETAILS: Final = 0x8769
"""The tag that points at the second directory, that of the camera and the user comment."""


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


class _Entry(NamedTuple):
    tag: int
    size: int  # bytes of its value
    at: int  # offset of its value in the block


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
    claimed = sum(entry.size for entry in _directory(exif, 4) if entry.at + entry.size <= len(exif))
    return claimed > 2 * len(exif)


def texts(exif: bytes, tags: Collection[int]) -> Iterator[bytes]:
    """The values of some tags as the bytes that they are, in the order of the file."""
    entries = list(islice(_directory(exif, 4), MAX_ENTRIES))
    for pointer in [entry for entry in entries if entry.tag == _DETAILS][:1]:
        entries += islice(_directory(exif, pointer.at), MAX_ENTRIES)
    wanted = [entry for entry in entries if entry.tag in tags][: 2 * len(tags)]  # a tag said a hundred times is noise
    return (exif[entry.at : entry.at + min(entry.size, MAX_TEXT)] for entry in wanted)


def _bare(content: bytes) -> bytes:
    return re.sub(rb"\A(?:Exif\0\0)+", b"", content)


def _directory(exif: bytes, pointer: int) -> Iterator[_Entry]:
    """The directory whose offset stands at `pointer`."""
    start = _number(exif, "I", pointer) + 2
    stop = start + _ENTRY * _number(exif, "H", start - 2)
    for at in range(start, min(stop, len(exif) - _ENTRY + 1), _ENTRY):
        tag, kind, count = struct.unpack_from(_order(exif) + "HHI", exif, at)
        size = count * _SIZES.get(kind, 0)
        yield _Entry(tag, size, at + 8 if size <= 4 else _number(exif, "I", at + 8))  # noqa: PLR2004 - small values stay in the entry


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
