"""The text chunks of a PNG: decompressed within a bound."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from gateway.images.blocks import Block

MAX_TEXT: Final = 256 * 1024
"""Bytes of one text that are looked at; more is never unpacked."""
MAX_TEXTS: Final = 50
"""Texts of one file that are looked at."""
MAX_KEYWORD: Final = 79

_KINDS: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})


@dataclass(frozen=True)
class PngText:
    """A keyword and the beginning of its text."""

    keyword: str
    text: bytes


def png_texts(found: Iterable[Block], keywords: Collection[str]) -> Iterator[PngText]:
    """The texts among a PNG's blocks under some keywords; a broken one is passed over."""
    chunks = ((_keyword(block.content), block) for block in found if block.name in _KINDS)
    for keyword, block in islice(((keyword, block) for keyword, block in chunks if keyword in keywords), MAX_TEXTS):
        text = _text(block.name, block.content[len(keyword) + 1 :])
        if text is not None:
            yield PngText(keyword, text)


def _keyword(content: bytes) -> str:
    return content[: MAX_KEYWORD + 1].partition(b"\0")[0].decode("latin-1")


def _text(kind: bytes, rest: bytes) -> bytes | None:
    if kind == b"tEXt":
        return rest[:MAX_TEXT]
    if kind == b"zTXt":
        return _unpacked(rest[1:])
    packed = rest[:1] == b"\1"
    parts = rest[2:].split(b"\0", 2)  # language, translated keyword, text
    if len(parts) < 3:  # noqa: PLR2004
        return None
    return _unpacked(parts[2]) if packed else parts[2][:MAX_TEXT]


def _unpacked(data: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(data, MAX_TEXT)
    except zlib.error:
        return None
