"""The words that evidence is made of. An answer says what was found, never what the file wrote."""

import re
import tomllib
from pathlib import Path
from time import monotonic
from typing import Final

from gateway.schemas import Evidence, EvidenceType, Strength

MAX_SEARCHED: Final = 4096
"""Characters of a text in which a name is looked for."""
MAX_PARAMETERS: Final = 16 * MAX_SEARCHED
"""Characters of a text in which parameters are looked for: a prompt may come first."""

# An address, a news code such as `digsrctype:trainedAlgorithmicMedia`, or the code alone: tools write all three.
_SOURCE: Final = re.compile(
    r"(?:(?:https?://)?(?:cv\.iptc\.org/newscodes|(?:www\.)?c2pa\.org)/digitalsourcetype/|[a-z][\w.-]{0,30}:)?"
    r"([a-z]{1,60})[/#]?",
    re.IGNORECASE,
)
_WORDS: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SOURCES: Final = {code.lower(): code for code in _WORDS["source_types"]} | {
    "createdusinggenerativeai": "trainedAlgorithmicMedia",
    "editedusinggenerativeai": "compositeWithTrainedAlgorithmicMedia",
}
"""Codes, and two by the names of their terms."""

_GENERATORS: Final = {
    name: re.compile(rf"(?<![a-z])(?:{pattern})(?![a-z])", re.IGNORECASE)
    for name, pattern in _WORDS["generators"].items()
}
_ONLY_SIGNED: Final = re.compile(r"(?<![a-z])sora(?![a-z])", re.IGNORECASE)
"""A tool's name that is a person's as well: outside of a manifest it says nothing."""

_UUID: Final = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_MIDJOURNEY: Final = re.compile(rf"\bjob ?id: ?{_UUID}", re.IGNORECASE)
_GROK: Final = re.compile(r"\s*signature: ?[a-z0-9+/_-]{64,}={0,2}\s*\0*", re.IGNORECASE)
# "key: value" pairs, parted by commas, bars or lines, as AUTOMATIC1111 and its heirs write them.
_PAIR: Final = re.compile(
    r"(?:^|[\s,|])(steps|seed|sampler|cfg scale|guidance scale|distilled cfg scale|model hash) ?: ?([^,|\n]{1,80})",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"-?\d{1,20}\s*\0*")
_SETTINGS: Final = frozenset({"sampler", "cfg scale", "guidance scale", "distilled cfg scale", "model hash"})

_AIGC: Final = re.compile(r'"aigc\\{0,8}"\s{0,8}:', re.IGNORECASE)
_AIGC_PARTY: Final = re.compile(
    r'"(?:contentproducer|produceid|contentpropagator|propagateid)\\{0,8}"\s{0,8}:', re.IGNORECASE
)
_AIGC_LABEL: Final = re.compile(r'"label\\{0,8}"\s{0,8}:\s{0,8}\\{0,8}"?\s{0,8}([123])\b', re.IGNORECASE)
_AIGC_LABELS: Final = {"1": ": AI-generated", "2": ": possibly AI-generated", "3": ": suspected to be AI-generated"}
BUDGET_S: Final = 2.0
BUDGET_STEPS: Final = 20_000
"""XML elements and attributes, and kilobytes of text, together; honest files have some hundreds, few have thousands."""


def source_type(written: str) -> str | None:
    """IPTC's code of a digital source type, if it is one of IPTC's."""
    match = _SOURCE.fullmatch("".join(written[:MAX_SEARCHED].split()))
    return _SOURCES.get(match[1].lower()) if match else None


def generator(text: str, *, signed: bool = False) -> str | None:
    """The image generator that a text names, in our spelling; in a signed manifest more is a tool's name."""
    searched = text[:MAX_SEARCHED]
    if signed and _ONLY_SIGNED.search(searched):
        return "Sora"
    return next((name for name, pattern in _GENERATORS.items() if pattern.search(searched)), None)


def parameters(text: str) -> str | None:
    """The tool whose generation parameters, job or signature a text holds: what tools write by themselves."""
    searched = text[:MAX_PARAMETERS]
    if _MIDJOURNEY.search(searched):
        return "Midjourney job ID"
    if _GROK.fullmatch(searched[:MAX_SEARCHED]):
        return "Grok signature"
    lowered = searched.lower()
    for written in _WORDS["parameters"]:
        if all(key in lowered for key in written["keys"]):
            return str(written["tool"])
    # A seed packet has steps and a seed, too: the numbers and a setting of the tool's must be there.
    pairs = {match[1].lower(): match[2] for match in _PAIR.finditer(searched)}
    numbers = all(_NUMBER.fullmatch(pairs.get(key, "")) for key in ("steps", "seed"))
    return "Stable Diffusion parameters" if numbers and not _SETTINGS.isdisjoint(pairs) else None


def aigc_label(text: str, *, named: bool = False) -> str | None:
    """China's label for generated content (GB 45438) in a text, or in the field that is named after it."""
    searched = text[:MAX_PARAMETERS]
    if not searched.strip("\0 \t\r\n") or not (named or _AIGC.search(searched) or _AIGC_PARTY.search(searched)):
        return None
    found = _AIGC_LABEL.search(searched) or (re.fullmatch(r"\s*([123])\s*", searched) if named else None)
    return f"AIGC label{_AIGC_LABELS[found[1]]}" if found else "AIGC label" if named else None


def told(kind: EvidenceType, value: str | None, strength: Strength = "medium") -> list[Evidence]:
    """A finding, if there is one."""
    return [Evidence(type=kind, value=value, strength=strength)] if value else []


def source(text: str) -> list[Evidence]:
    """What IPTC's field for it says about the digital source."""
    return told("iptc_source_type", source_type(text))


def ai_system(text: str) -> list[Evidence]:
    """What IPTC's field for it says about the AI system."""
    return told("iptc_ai_field", generator(text, signed=True) or "AI system named")


def tool(text: str) -> list[Evidence]:
    """The image generator that a field for software names."""
    return told("generator_software", generator(text), "weak")


def label(text: str) -> list[Evidence]:
    """What China's label says in the field that is named after it."""
    return told("aigc_label", aigc_label(text, named=True))


def statements(text: str) -> list[Evidence]:
    """What a free text says, wherever in a file it stands."""
    return told("generator_parameters", parameters(text)) + told("aigc_label", aigc_label(text))


class OverBudgetError(Exception):
    """The time or the steps are used up."""


class Budget:
    """The steps and the time that are left to all readers of one file."""

    def __init__(self, seconds: float = BUDGET_S, steps: int = BUDGET_STEPS) -> None:
        self._end = monotonic() + seconds
        self._steps = steps

    def spend(self, steps: int = 1) -> None:
        """Take some steps; raises OverBudgetError where none are left, or no time."""
        self._steps -= steps
        if self._steps < 0 or monotonic() > self._end:
            raise OverBudgetError
