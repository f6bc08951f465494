"""PNG text: where most image generators leave their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.evidence.vocabulary import generator, parameters
from gateway.images.blocks import Block
from gateway.images.png_text import PngText, png_texts
from gateway.schemas import Evidence

_TELLING: Final[Mapping[str, str]] = {
    "Dream": "InvokeAI parameters",
    "fooocus_scheme": "Fooocus parameters",
    "invokeai_metadata": "InvokeAI parameters",
    "sd-metadata": "InvokeAI parameters",
}
"""Keywords that one tool alone uses."""
_PARAMETERS: Final = frozenset({"parameters", "prompt", "workflow", "Comment"})
_SOFTWARE: Final = frozenset({"Software", "Source", "Author"})


def png_evidence(found: list[Block]) -> Iterator[Evidence]:
    """What the texts of a PNG say; of other images, nothing."""
    for text in png_texts(found, {*_TELLING, *_PARAMETERS, *_SOFTWARE}):
        if text.keyword in _SOFTWARE:
            if tool := generator(_decoded(text)):
                yield Evidence(type="generator_software", value=tool, strength="weak")
        elif trace := _TELLING.get(text.keyword) or parameters(_decoded(text)):
            yield Evidence(type="generator_parameters", value=trace, strength="medium")


def _decoded(text: PngText) -> str:
    return text.text.decode(errors="replace")
