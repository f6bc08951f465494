"""Texts beside the pixels: PNG text, where most image generators leave their parameters, and JPEG comments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.evidence.budget import Budget
from gateway.evidence.vocabulary import aigc_label, generator, statements
from gateway.images.blocks import Block
from gateway.images.png_text import MAX_TEXT, PngText, png_texts
from gateway.schemas import Evidence

_TELLING: Final[Mapping[str, str]] = {
    "Dream": "InvokeAI parameters",
    "Stable Diffusion model": "Easy Diffusion parameters",
    "fooocus_scheme": "Fooocus parameters",
    "invokeai_graph": "InvokeAI parameters",
    "invokeai_metadata": "InvokeAI parameters",
    "invokeai_workflow": "InvokeAI parameters",
    "sd-metadata": "InvokeAI parameters",
    "use_stable_diffusion_model": "Easy Diffusion parameters",
}
"""Keywords that one tool alone uses."""
_AIGC: Final = frozenset({"AIGC", "Aigc", "aigc", "TC260:AIGC"})
_TEXTS: Final = frozenset(
    {
        "parameters",
        "Parameters",
        "prompt",
        "workflow",
        "generation_data",
        "Comment",
        "comment",
        "Description",
        "description",
    }
    | {"ImageDescription", "UserComment", "exif:UserComment"}
)
_SOFTWARE: Final = frozenset({"Software", "software", "Source", "Author"})
_JPEG_COMMENT: Final = b"\xfe"


def png_evidence(found: list[Block], budget: Budget) -> Iterator[Evidence]:
    """What the texts of a PNG and the comments of a JPEG say.

    Raises:
        OverBudgetError: More than is read of one file.
    """
    for text in png_texts(found, {*_TELLING, *_AIGC, *_TEXTS, *_SOFTWARE}):
        budget.spend(1 + len(text.text) // 1024)
        yield from _findings(text)
    for block in found:
        if block.name == _JPEG_COMMENT:
            budget.spend(1 + len(block.content) // 1024)
            yield from statements(block.content[:MAX_TEXT].decode(errors="replace"))


def _findings(text: PngText) -> Iterator[Evidence]:
    decoded = text.text.decode(errors="replace")
    if text.keyword in _SOFTWARE:
        if tool := generator(decoded):
            yield Evidence(type="generator_software", value=tool, strength="weak")
    elif text.keyword in _AIGC:
        if label := aigc_label(decoded, named=True):
            yield Evidence(type="aigc_label", value=label, strength="medium")
    elif trace := _TELLING.get(text.keyword):
        yield Evidence(type="generator_parameters", value=trace, strength="medium")
    else:
        yield from statements(decoded)
