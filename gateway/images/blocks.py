"""The blocks that an image file is made of, walked without decoding anything and within a bound.

JPEG has segments, PNG and WebP have chunks. Readers go through them in Python, one by one, so a file of millions of
tiny ones would hold a processor for seconds, here as in the model server.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

MAX_STEPS: Final = 20_000
"""Blocks, and bytes of filling between the segments of a JPEG, that a file may have; real ones have tens."""

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


def blocks(data: bytes, kind: str) -> Iterator[Block]:
    """The blocks of a file of this media type, up to the pixels of a JPEG, and to the end of a PNG or WebP.

    Raises:
        TooManyBlocksError: There is no end to them.
    """
    return _WALKS[kind](data)


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
