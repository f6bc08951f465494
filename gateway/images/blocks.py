"""The blocks that an image file is made of, walked without decoding anything and within a bound.

JPEG has segments, PNG and WebP have chunks. Readers go through them in Python, one by one, so a file of millions of
tiny ones would hold a processor for seconds, here as in the model server.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

MAX_STEPS: Final = 20_000
"""Blocks, and bytes of filling between the segments of a JPEG, that a file may have; real ones have tens."""

MAX_SCANS: Final = 100
"""Scans that a JPEG may have, each of which costs a pass over the whole image; encoders write about ten."""
MAX_SCANNED_PIXELS: Final = 1_000_000_000
"""The pixels of all those passes."""

_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})

_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_START_OF_IMAGE: Final = 0xD8
_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = 0xD9
_FILLING: Final = 0xFF
_WITHOUT_LENGTH: Final = frozenset({0x00, 0x01, *range(0xD0, 0xD9), _FILLING})


class TooManyBlocksError(Exception):
    """The file has more blocks than any honest one."""


@dataclass(frozen=True)
class Block:
    """One segment or chunk: its name (of a JPEG segment, the marker's byte) and its content, perhaps cut off."""

    name: bytes
    content: bytes


def is_frame(block: Block) -> bool:
    """Whether this is the one segment of a JPEG that tells its size."""
    return block.name[0] in _FRAMES


def blocks(data: bytes, kind: str) -> Iterator[Block]:
    """The blocks of a file of this media type, up to the pixels of a JPEG, and to the end of a PNG or WebP.

    Raises:
        TooManyBlocksError: There is no end to them.
    """
    return _WALKS[kind](data)


def count_scans(data: bytes, frame: Block) -> int:
    """The scans of a JPEG as far as they can be more than one: up to one more than there may be.

    Raises:
        TooManyBlocksError: There is no end to the segments between them.
    """
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
    raise TooManyBlocksError


def _segments(data: bytes) -> Iterator[Block]:
    at, left = 2, MAX_STEPS
    while (mark := data.find(b"\xff", at, at + MAX_STEPS + 1)) >= 0 and mark + 4 <= len(data):
        left -= 1 + mark - at
        if left < 0:
            raise TooManyBlocksError
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
        raise TooManyBlocksError  # filling alone


def _png_chunks(data: bytes) -> Iterator[Block]:
    return _chunks(data, start=8, head=struct.Struct(">I4s"), size_first=True, tail=lambda _: 4)


def _webp_chunks(data: bytes) -> Iterator[Block]:
    return _chunks(data, start=12, head=struct.Struct("<4sI"), size_first=False, tail=lambda size: size % 2)


def _chunks(
    data: bytes, start: int, head: struct.Struct, *, size_first: bool, tail: Callable[[int], int]
) -> Iterator[Block]:
    at = start
    for _ in range(MAX_STEPS):
        if at + head.size > len(data):
            return
        first, second = head.unpack_from(data, at)
        size, name = (first, second) if size_first else (second, first)
        at += head.size
        yield Block(name, data[at : at + size])
        at += size + tail(size)
    raise TooManyBlocksError


_WALKS: Final[Mapping[str, Callable[[bytes], Iterator[Block]]]] = {
    "image/jpeg": _segments,
    "image/png": _png_chunks,
    "image/webp": _webp_chunks,
}
