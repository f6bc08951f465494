"""The words that evidence is made of. An answer says what was found, never what the file wrote."""

from __future__ import annotations

import re
from typing import Final

MAX_SEARCHED: Final = 4096
"""Characters of a text in which a name is looked for."""

_SOURCE_PREFIX: Final = re.compile(r"https?://cv\.iptc\.org/newscodes/digitalsourcetype/([A-Za-z]{1,60})/?")
_SOURCES: Final = frozenset(
    {
        "algorithmicMedia",
        "algorithmicallyEnhanced",
        "composite",
        "compositeCapture",
        "compositeSynthetic",
        "compositeWithTrainedAlgorithmicMedia",
        "computationalCapture",
        "dataDrivenMedia",
        "digitalArt",
        "digitalCapture",
        "digitalCreation",
        "humanEdits",
        "minorHumanEdits",
        "multiFrameComputationalCapture",
        "negativeFilm",
        "positiveFilm",
        "print",
        "screenCapture",
        "softwareImage",
        "trainedAlgorithmicMedia",
        "virtualRecording",
    }
)
"""IPTC's digital source types: https://cv.iptc.org/newscodes/digitalsourcetype/."""

_GENERATORS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("Adobe Firefly", r"\badobe[ _]firefly\b"),
        ("Amazon Titan", r"\bamazon titan\b|\btitan image generator\b"),
        ("Bing Image Creator", r"\bbing image creator\b|\bmicrosoft designer\b"),
        ("ComfyUI", r"\bcomfyui\b"),
        ("DALL-E", r"\bdall[-\u00b7 ]?e\b"),
        ("Flux", r"\bflux\.1\b|\bblack forest labs\b"),
        ("Fooocus", r"\bfooocus\b"),
        ("Google AI", r"\bmade with google ai\b|\bgoogle (imagen|gemini)\b|\bedited with google ai\b"),
        ("Ideogram", r"\bideogram\b"),
        ("InvokeAI", r"\binvoke ?ai\b"),
        ("Leonardo.Ai", r"\bleonardo\.ai\b"),
        ("Midjourney", r"\bmidjourney\b"),
        ("NovelAI", r"\bnovelai\b"),
        ("OpenAI", r"\bopenai\b|\bchatgpt\b|\bgpt-4o\b|\bgpt-image\b"),
        ("Stable Diffusion", r"\bstable[ -]?diffusion\b|\bautomatic1111\b|\bdreamstudio\b|\bstability ai\b"),
    )
)


def source_type(address: str) -> str | None:
    """IPTC's code in the address of a digital source type, if it is one of IPTC's."""
    match = _SOURCE_PREFIX.fullmatch(address.strip()[:MAX_SEARCHED])
    return match[1] if match and match[1] in _SOURCES else None


def generator(text: str) -> str | None:
    """The image generator that a text names, in our spelling."""
    searched = text[:MAX_SEARCHED]
    return next((name for name, pattern in _GENERATORS if pattern.search(searched)), None)


def parameters(text: str) -> str | None:
    """The tool whose generation parameters a text holds: what such tools write into each picture by themselves."""
    searched = text[: 16 * MAX_SEARCHED]  # a prompt may come first
    if re.search(r"\bSteps: ?\d", searched) and re.search(r"\b(Sampler|CFG scale|Seed): ?\w", searched):
        return "Stable Diffusion parameters"
    if '"class_type"' in searched and '"inputs"' in searched:
        return "ComfyUI prompt"
    if '"nodes"' in searched and '"links"' in searched:
        return "ComfyUI workflow"
    if '"sampler"' in searched and '"steps"' in searched:
        return "NovelAI parameters"
    return None
