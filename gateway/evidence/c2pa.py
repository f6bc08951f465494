"""C2PA manifests (Content Credentials): whether they hold, and what they say about the image's origin."""

from collections import deque
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final, Literal

from c2pa import C2paError, Context, Reader
from pydantic import AliasPath, BaseModel, Field, ValidationError

from gateway.evidence.vocabulary import OverBudgetError, generator, source_type
from gateway.images import Block
from gateway.schemas import Evidence, Strength

MAX_MANIFEST: Final = 2 * 1024 * 1024
"""Bytes of a manifest with all its ancestors: the library needs up to 130 times as many, and cannot be interrupted."""
MAX_BOXES: Final = 2000
"""Boxes and references in it, for the library's time grows with their square; real ones have ten to some hundreds."""
MAX_REPORT: Final = 2 * 1024 * 1024
"""Characters of the library's report that are read."""
MAX_MANIFESTS: Final = 20
"""Manifests that are looked at: the image's own, and those of what it was made from."""

_INTACT: Final[tuple[tuple[str, str, Strength], ...]] = (
    ("signingCredential.ocsp.revoked", "the signer's certificate was revoked", "weak"),
    ("signingCredential.revoked", "the signer's certificate was revoked", "weak"),
    ("signingCredential.expired", "the signer's certificate has expired", "medium"),
    ("claimSignature.outsideValidity", "the signer's certificate has expired", "medium"),
    ("signingCredential.invalid", "the signer's certificate is not accepted", "medium"),
)
_OF_THE_SIGNER: Final = ("signingCredential.", "timeStamp.", "cawg.", "claimSignature.outsideValidity")
"""Failures that say who signed or when, and nothing of a change."""
_JPEG_APP11: Final = b"\xeb"
_UNREADABLE: Final = Evidence(type="c2pa_manifest", value="cannot be read", strength="weak")


def _results(*path: str) -> AliasPath:
    return AliasPath("validation_results", *path)


class _Assertion(BaseModel):
    label: str
    data: Any = None

    def entries(self, *keys: str) -> Iterator[dict[str, Any]]:
        """The objects in a list that is the data, or under some keys of it."""
        lists = [self.data] if isinstance(self.data, list) else [_get(self.data, key) for key in keys]
        yield from (entry for each in lists if isinstance(each, list) for entry in each if isinstance(entry, dict))


class _Ingredient(BaseModel):
    relationship: str = ""
    manifest: str | None = Field(default=None, alias="active_manifest")


class _Manifest(BaseModel):
    claim_generator: str = ""
    claim_generator_info: list[Any] = []
    assertions: list[_Assertion] = []
    ingredients: list[_Ingredient] = []

    def sources(self) -> Iterator[str]:
        """The source types that its actions and its copy of the IPTC metadata name."""
        for assertion in self.assertions:
            if _has_actions(assertion):
                yield from (
                    _text(action.get("digitalSourceType")) for action in assertion.entries("actions", "templates")
                )
            elif isinstance(assertion.data, dict):
                yield from (_text(each) for key, each in assertion.data.items() if key.endswith(":DigitalSourceType"))

    def agents(self) -> Iterator[str]:
        """Whatever names the tools that made the claim or the image."""
        yield self.claim_generator
        yield from map(_text, self.claim_generator_info)
        for assertion in filter(_has_actions, self.assertions):
            for action in assertion.entries("actions", "templates"):
                yield from (_text(action.get("softwareAgent")), _text(action.get("description")))
            yield from (_text(agent) for agent in assertion.entries("softwareAgents"))


class _Status(BaseModel):
    code: str = ""


class _Delta(BaseModel):
    failure: list[_Status] = Field(default=[], validation_alias=AliasPath("validationDeltas", "failure"))


class _Report(BaseModel):
    active_manifest: str
    manifests: dict[str, _Manifest]
    validation_state: Literal["Trusted", "Valid", "Invalid"]
    success: list[_Status] = Field(default=[], validation_alias=_results("activeManifest", "success"))
    failure: list[_Status] = Field(default=[], validation_alias=_results("activeManifest", "failure"))
    ingredients: list[_Delta] | None = Field(default=None, validation_alias=_results("ingredientDeltas"))

    def state(self) -> tuple[str, Strength]:
        """Whether the manifest holds, in words; only a hash that does not fit is a change."""
        failures = {status.code for status in self.failure}
        deltas = {status.code for delta in self.ingredients or () for status in delta.failure}
        if any(map(_is_change, failures | deltas)):
            return "broken: the image or the manifest was changed", "weak"
        if self.validation_state == "Trusted":
            return "intact, trusted signer", "strong"
        signed = "claimSignature.validated" in {status.code for status in self.success}
        if not signed or not all(code.startswith(_OF_THE_SIGNER) for code in failures):
            return "not valid: the manifest breaks the rules of C2PA", "weak"
        for code, what, strength in _INTACT:
            if code in failures:
                return f"intact, {what}", strength
        return "intact, unknown signer", "medium"

    def related(self) -> Iterator[tuple[_Manifest, bool]]:
        """The manifests of the image and of what it was made from, and whether each is of the image in one piece."""
        waiting, seen = deque([(self.active_manifest, True)]), set[str]()
        while waiting and len(seen) < MAX_MANIFESTS:
            label, own = waiting.popleft()
            if label in seen or label not in self.manifests:
                continue
            seen.add(label)
            manifest = self.manifests[label]
            yield manifest, own
            # The ancestors come first: what is told of the image itself is not to be told of an ingredient again.
            parents = sorted(manifest.ingredients, key=lambda entry: entry.relationship != "parentOf")
            for entry in parents:
                following = (entry.manifest or "", own and entry.relationship == "parentOf")
                (waiting.appendleft if following[1] else waiting.append)(following)


class ManifestReader:
    """Reads embedded manifests with C2PA's own library, which is told to leave the network alone."""

    def __init__(self, trust_anchors: str | None) -> None:
        verify = {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}
        trust = {"trust": {"user_anchors": trust_anchors}} if trust_anchors else {}
        self._context = Context.from_dict({"verify": verify, **trust})

    def evidence(self, data: bytes, kind: str, found: list[Block]) -> Iterator[Evidence]:
        """What a manifest in the file says; raises OverBudgetError where it is larger than is read."""
        held = [block for block in found if block.name in {_JPEG_APP11, b"caBX", b"C2PA"}]
        if any(block.name != _JPEG_APP11 or b"c2pa" in block.content[:128] for block in held):
            # Of a JPEG's segments without their heads, or a box's name could hide on the border of two.
            parts = [block.content[16:] if block.name == _JPEG_APP11 else block.content for block in held]
            if sum(map(len, parts)) > MAX_MANIFEST or b"".join(parts).count(b"jumb") > MAX_BOXES:
                raise OverBudgetError
            report = self._report(data, kind)
            yield from _findings(report) if report else (_UNREADABLE,)

    def _report(self, data: bytes, kind: str) -> _Report | None:
        try:
            with Reader(kind, BytesIO(data), context=self._context) as reader:
                report = reader.json()
            return _Report.model_validate_json(report) if len(report) <= MAX_REPORT else None
        except (C2paError, ValidationError):
            return None


def _is_change(code: str) -> bool:
    return code.endswith(".mismatch") and not code.startswith(("timeStamp.", "cawg."))


def _has_actions(assertion: _Assertion) -> bool:
    return assertion.label == "actions" or assertion.label.startswith("c2pa.actions")


def _findings(report: _Report) -> Iterator[Evidence]:
    value, strength = report.state()
    yield Evidence(type="c2pa_manifest", value=value, strength=strength)
    told: set[str] = set()
    for manifest, own in report.related():
        sources = [code for code in map(source_type, manifest.sources()) if code]
        tools = [tool for tool in (generator(agent, signed=True) for agent in manifest.agents()) if tool]
        if own:
            told.update(sources, tools)
            yield from (Evidence(type="c2pa_source_type", value=code, strength=strength) for code in sources)
            yield from (Evidence(type="c2pa_generator", value=tool, strength=strength) for tool in tools)
        else:
            others = [word for word in (*sources, *tools) if word not in told]
            yield from (Evidence(type="c2pa_ingredient", value=word, strength=strength) for word in others)


def _get(data: object, key: str) -> object:
    return data.get(key) if isinstance(data, dict) else None


def _text(value: object) -> str:
    """A text, or the name of an object such as a software agent."""
    name = _get(value, "name") if isinstance(value, dict) else value
    return name if isinstance(name, str) else ""
