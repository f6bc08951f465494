"""EXIF: the tag that names the software, and the comments into which generators write their parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.evidence.budget import Budget
from gateway.evidence.vocabulary import generator, statements
from gateway.images.blocks import Block
from gateway.images.exif import exif_blocks, texts
from gateway.schemas import Evidence

_SOFTWARE: Final = frozenset({0x000B, 0x0131})
"""ProcessingSoftware, Software."""
_COMMENTS: Final = frozenset({0x010E, 0x010F, 0x0110, 0x9286})
"""ImageDescription, Make and Model (where ComfyUI keeps its workflow in a WebP), UserComment."""
_WINDOWS_COMMENTS: Final = frozenset({0x9C9B, 0x9C9C})
"""XPTitle, XPComment: always UTF-16."""
_WIDE: Final = b"UNICODE\0"
_NARROW: Final = b"ASCII\0\0\0"


def exif_evidence(found: list[Block], budget: Budget) -> Iterator[Evidence]:
    """What the EXIF among an image's blocks says.

    Raises:
        OverBudgetError: More than is read of one file.
    """
    for exif in exif_blocks(found):
        budget.spend(1 + len(exif) // 1024)
        for value in texts(exif, _SOFTWARE):
            if tool := generator(_decoded(value)):
                yield Evidence(type="generator_software", value=tool, strength="weak")
        for value in texts(exif, _COMMENTS):
            for text in _readings(value):
                budget.spend(1 + len(text) // 1024)
                yield from statements(text)
        for value in texts(exif, _WINDOWS_COMMENTS):
            yield from statements(value.decode("utf-16-le", errors="replace"))


def _readings(value: bytes) -> Iterator[str]:
    """A comment as text; wide characters come in either byte order, and nothing says in which."""
    if value.startswith(_WIDE):
        yield value[len(_WIDE) :].decode("utf-16-be", errors="replace")
        yield value[len(_WIDE) :].decode("utf-16-le", errors="replace")
    else:
        yield _decoded(value.removeprefix(_NARROW))


def _decoded(value: bytes) -> str:
    return value.decode(errors="replace")
