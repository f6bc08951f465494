"""C2PA manifests (Content Credentials): whether they hold, and what they say about the image's origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Final, Literal

from c2pa import C2paError, Context, Reader
from pydantic import BaseModel, Field, ValidationError

from gateway.evidence.vocabulary import generator, source_type
from gateway.images.blocks import Block
from gateway.schemas import Evidence, Strength

MAX_REPORT: Final = 2 * 1024 * 1024
"""Characters of the library's report that are read."""
MAX_ANCESTORS: Final = 10

_STATES: Final[Mapping[str, tuple[str, Strength]]] = {
    "Trusted": ("intact, trusted signer", "strong"),
    "Valid": ("intact, unknown signer", "medium"),
    "Invalid": ("broken: the image or the manifest was changed", "weak"),
}
_UNREADABLE: Final = Evidence(type="c2pa_manifest", value="cannot be read", strength="weak")


class _Agent(BaseModel):
    name: str = ""


class _Action(BaseModel):
    source: str = Field(default="", alias="digitalSourceType")
    agent: str | _Agent = Field(default="", alias="softwareAgent")


class _Data(BaseModel):
    actions: list[_Action] = []


class _Assertion(BaseModel):
    label: str
    data: _Data | object = None


class _Ingredient(BaseModel):
    relationship: str = ""
    manifest: str | None = Field(default=None, alias="active_manifest")


class _Manifest(BaseModel):
    claim_generator: str = ""
    claim_generator_info: list[_Agent] = []
    assertions: list[_Assertion] = []
    ingredients: list[_Ingredient] = []

    def actions(self) -> Iterator[_Action]:
        for assertion in self.assertions:
            if assertion.label.startswith("c2pa.actions") and isinstance(assertion.data, _Data):
                yield from assertion.data.actions

    def parent(self) -> str | None:
        parents = (entry.manifest for entry in self.ingredients if entry.relationship == "parentOf")
        return next(parents, None)


class _Report(BaseModel):
    active_manifest: str
    manifests: dict[str, _Manifest]
    validation_state: Literal["Trusted", "Valid", "Invalid"]

    def lineage(self) -> Iterator[_Manifest]:
        """The image's own manifest, and those of what it was made from in one piece."""
        label: str | None = self.active_manifest
        for _ in range(MAX_ANCESTORS):
            manifest = self.manifests.get(label) if label else None
            if manifest is None:
                return
            yield manifest
            label = manifest.parent()


class ManifestReader:
    """Reads embedded manifests with C2PA's own library, which is told to leave the network alone."""

    def __init__(self, trust_anchors: str | None) -> None:
        verify = {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}
        trust = {"trust": {"user_anchors": trust_anchors}} if trust_anchors else {}
        self._context = Context.from_dict({"verify": verify, **trust})

    def evidence(self, data: bytes, kind: str, found: list[Block]) -> Iterator[Evidence]:
        """What the manifest says, if there is one in the file."""
        if any(map(_holds_manifest, found)):
            report = self._report(data, kind)
            yield from _findings(report) if report else (_UNREADABLE,)

    def _report(self, data: bytes, kind: str) -> _Report | None:
        try:
            with Reader(kind, BytesIO(data), context=self._context) as reader:
                report = reader.json()
            return _Report.model_validate_json(report) if len(report) <= MAX_REPORT else None
        except (C2paError, ValidationError):
            return None


def _holds_manifest(block: Block) -> bool:
    in_jpeg = block.name == b"\xeb" and b"c2pa" in block.content[:128]
    return in_jpeg or block.name in {b"caBX", b"C2PA"}


def _findings(report: _Report) -> Iterator[Evidence]:
    value, strength = _STATES[report.validation_state]
    yield Evidence(type="c2pa_manifest", value=value, strength=strength)
    for manifest in report.lineage():
        for code in filter(None, (source_type(action.source) for action in manifest.actions())):
            yield Evidence(type="c2pa_source_type", value=code, strength=strength)
        for tool in filter(None, map(generator, _agents(manifest))):
            yield Evidence(type="c2pa_generator", value=tool, strength=strength)


def _agents(manifest: _Manifest) -> Iterator[str]:
    yield manifest.claim_generator
    yield from (agent.name for agent in manifest.claim_generator_info)
    for action in manifest.actions():
        yield action.agent.name if isinstance(action.agent, _Agent) else action.agent
