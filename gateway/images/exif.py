"""EXIF blocks: where they are, which of them are traps, and the text in a few of their tags.

Not Pillow's reader: it copies the value of every entry, and entries may all point at the same megabytes, so a file
within the limits could fill any memory.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from gateway.images.blocks import Block

MAX_TEXT: Final = 64 * 1024
"""Bytes of a text value that are looked at."""
MAX_ENTRIES: Final = 500
"""Entries of a directory that are looked at."""

_JPEG_APP1: Final = b"\xe1"
_JPEG_APP2: Final = b"\xe2"
_SIGNATURE: Final = b"Exif\0\0"
_MULTI_PICTURE: Final = b"MPF\0"
_ENTRY: Final = 12
_SIZES: Final[Mapping[int, int]] = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8
}  # fmt: skip
_DETAILS: Final = 0x8769
"""The tag that points at the second directory, that of the camera and the user comment."""


@dataclass(frozen=True)
class _Entry:
    tag: int
    size: int  # bytes of its value
    at: int  # offset of its value in the block


def exif_blocks(found: Iterable[Block]) -> list[bytes]:
    """The EXIF blocks among an image's blocks, without their signature; those of a JPEG continue each other."""
    joined: list[bytes] = []
    others: list[bytes] = []
    for block in found:
        if block.name == _JPEG_APP1 and block.content.startswith(_SIGNATURE):
            joined.append(_bare(block.content))
        elif block.name in {b"eXIf", b"EXIF"}:
            others.append(_bare(block.content))
        elif block.name == _JPEG_APP2 and block.content.startswith(_MULTI_PICTURE):
            others.append(block.content.removeprefix(_MULTI_PICTURE))
    return [b"".join(joined), *others] if joined else others


def is_trap(exif: bytes) -> bool:
    """Whether the entries claim far more bytes than there are: they overlap, and whoever copies each will choke."""
    return sum(entry.size for entry in _directory(exif, _first(exif)) if entry.at + entry.size <= len(exif)) > 2 * len(
        exif
    )


def texts(exif: bytes, tags: Collection[int]) -> Iterator[bytes]:
    """The values of some tags as the bytes that they are, in the order of the file."""
    entries = list(islice(_directory(exif, _first(exif)), MAX_ENTRIES))
    for pointer in [entry for entry in entries if entry.tag == _DETAILS][:1]:
        entries += islice(_directory(exif, _number(exif, "I", pointer.at)), MAX_ENTRIES)
    wanted = [entry for entry in entries if entry.tag in tags][: 2 * len(tags)]  # a tag said a hundred times is noise
    return (exif[entry.at : entry.at + min(entry.size, MAX_TEXT)] for entry in wanted)


def _bare(content: bytes) -> bytes:
    while content.startswith(_SIGNATURE):
        content = content.removeprefix(_SIGNATURE)
    return content


def _first(exif: bytes) -> int:
    return _number(exif, "I", 4)


def _directory(exif: bytes, start: int) -> Iterator[_Entry]:
    stop = start + 2 + _ENTRY * _number(exif, "H", start)
    for at in range(start + 2, min(stop, len(exif) - _ENTRY + 1), _ENTRY):
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
