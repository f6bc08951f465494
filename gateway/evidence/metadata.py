"""All kinds of evidence in one list, from the bytes as they were uploaded."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Final
from xml.sax import SAXException, handler, xmlreader  # types alone; defusedxml does the reading

import structlog
from anyio import CapacityLimiter, move_on_after, to_thread
from defusedxml import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from gateway.evidence import vocabulary
from gateway.evidence.c2pa import ManifestReader
from gateway.images import MAX_PNG_TEXT, Block, blocks, content_type, directory, exif_blocks, png_texts
from gateway.schemas import Evidence, EvidenceType, Strength

MAX_PACKETS: Final = 4
MAX_DEPTH: Final = 100
MAX_NAME: Final = 256
MAX_VALUE: Final = 64 * 1024
"""Characters of one property that are looked at."""
MAX_PREFIXES: Final = 1000
"""Declarations of prefixes in one packet."""
CHUNK: Final = 16 * 1024
MOST: Final = 20
"""Findings that one answer holds; nothing honest has as many."""
THREADS: Final = 1
"""Images that are looked over at the same time: what one may cost in memory is not to be paid twice."""

_JPEG_SIGNATURE: Final = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_KEYWORD: Final = "XML:com.adobe.xmp"
_NAMESPACES: Final = {
    "www.w3.org/1999/02/22-rdf-syntax-ns": "rdf",
    "iptc.org/std/iptc4xmpext/2008-02-29": "iptc",
    "ns.adobe.com/exif/1.0": "exif",
    "ns.adobe.com/photoshop/1.0": "photoshop",
    "ns.adobe.com/tiff/1.0": "tiff",
    "ns.adobe.com/xap/1.0": "xmp",
    "ns.adobe.com/xap/1.0/stype/resourceevent": "event",
    "purl.org/dc/elements/1.1": "dc",
    "purl.org/dc/terms": "dcterms",
}
_SOFTWARE: Final = frozenset({0x000B, 0x0131})
"""ProcessingSoftware, Software."""
_COMMENTS: Final = frozenset({0x010E, 0x010F, 0x0110, 0x9286})
"""ImageDescription, Make and Model (where ComfyUI keeps its workflow in a WebP), UserComment."""
_WINDOWS_COMMENTS: Final = frozenset({0x9C9B, 0x9C9C})
"""XPTitle, XPComment: always UTF-16."""
MAX_EXIF_VALUE: Final = 64 * 1024
"""Bytes of an EXIF value that are looked at."""
MAX_EXIF_ENTRIES: Final = 500
"""Entries of an EXIF directory that are looked at."""
_DETAILS: Final = 0x8769
"""The tag that points at the second directory, that of the camera and the user comment."""
_WIDE: Final = b"UNICODE\0"
_NARROW: Final = b"ASCII\0\0\0"

Meaning = Callable[[str], Iterable[Evidence]]
"""What the text of a field says."""


def _always(kind: EvidenceType, value: str, strength: Strength = "medium") -> Meaning:
    return lambda _: vocabulary.told(kind, value, strength)


_XMP: Final[Mapping[str, Meaning]] = {
    "iptc:digitalsourcetype": vocabulary.source,
    "iptc:digitalsourcefiletype": vocabulary.source,
    "iptc:aisystemused": vocabulary.ai_system,  # this and the next three: IPTC's standard of 2025
    "iptc:aisystemversionused": _always("iptc_ai_field", "version of an AI system named"),
    "iptc:aipromptinformation": _always("iptc_ai_field", "prompt for an AI system given"),
    "iptc:aipromptwritername": _always("iptc_ai_field", "writer of a prompt for an AI system named"),
    "xmp:creatortool": vocabulary.tool,
    "photoshop:credit": vocabulary.tool,
    "photoshop:source": vocabulary.tool,
    "tiff:software": vocabulary.tool,
    "event:softwareagent": vocabulary.tool,
    "tc260:aigc": vocabulary.label,
    "tc260:label": vocabulary.label,
    "dc:description": vocabulary.statements,
    "exif:usercomment": vocabulary.statements,
    "tiff:imagedescription": vocabulary.statements,
    "dcterms:provenance": _always("c2pa_manifest", "kept elsewhere, not fetched", "weak"),
}
_TEXTS: Final = ("parameters", "Parameters", "prompt", "workflow", "generation_data")
_DESCRIPTIONS: Final = ("Comment", "comment", "Description", "description", "ImageDescription")
_INVOKEAI: Final = ("Dream", "invokeai_graph", "invokeai_metadata", "invokeai_workflow", "sd-metadata")
_EASY_DIFFUSION: Final = ("Stable Diffusion model", "use_stable_diffusion_model")
_PNG: Final[Mapping[str, Meaning]] = {
    **dict.fromkeys((*_TEXTS, *_DESCRIPTIONS, "UserComment", "exif:UserComment"), vocabulary.statements),
    **dict.fromkeys(("Software", "software", "Source", "Author"), vocabulary.tool),
    **dict.fromkeys(("AIGC", "Aigc", "aigc", "TC260:AIGC"), vocabulary.label),
    # Keywords that one tool alone uses.
    **dict.fromkeys(_INVOKEAI, _always("generator_parameters", "InvokeAI parameters")),
    **dict.fromkeys(_EASY_DIFFUSION, _always("generator_parameters", "Easy Diffusion parameters")),
    "fooocus_scheme": _always("generator_parameters", "Fooocus parameters"),
}
_LEFT_OUT: Final = Evidence(type="incomplete", value="left out: more metadata than is read", strength="weak")
_NO_TIME: Final = Evidence(type="incomplete", value="left out: no time to read the metadata", strength="weak")
_log = structlog.get_logger()


def xmp_evidence(found: list[Block], budget: vocabulary.Budget) -> Iterator[Evidence]:
    """What XMP says, up to the first fault of each packet; raises OverBudgetError past what is read of one file."""
    for number, packet in enumerate(_packets(found)):
        if number >= MAX_PACKETS:
            raise vocabulary.OverBudgetError
        for name, value in _properties(packet, budget):
            if meaning := _XMP.get(name):
                yield from meaning(value)


def _packets(found: list[Block]) -> Iterator[bytes]:
    for name, content in found:
        if name == b"\xe1" and content.startswith(_JPEG_SIGNATURE):
            yield content[len(_JPEG_SIGNATURE) :][:MAX_PNG_TEXT]
        elif name == b"XMP ":
            yield content[:MAX_PNG_TEXT]
    yield from (text for _, text in png_texts(found, {_PNG_KEYWORD}))


def _properties(packet: bytes, budget: vocabulary.Budget) -> Iterator[tuple[str, str]]:
    """Names and values, of attributes and elements alike: XMP may write a property either way."""
    # Without expat's namespaces: it would copy a name's whole address to each of thousands of elements.
    parser, properties = DefusedExpatParser(forbid_dtd=True), _Properties(budget)
    parser.setContentHandler(properties)
    body = packet.strip(b"\0 \t\r\n")
    try:
        for at in range(0, len(body), CHUNK):
            parser.feed(body[at : at + CHUNK])
            yield from properties.take()
    except (SAXException, DefusedXmlException, ValueError, LookupError):  # an encoding may be unknown or a lie
        yield from properties.take()


class _Properties(handler.ContentHandler):
    """Resolves the prefixes whose namespaces we know, and names a value after its property, not its `rdf:li`."""

    def __init__(self, budget: vocabulary.Budget) -> None:
        super().__init__()
        self._budget = budget
        self._open: list[tuple[str, dict[str, str]]] = [("", {})]
        self._declared = 0
        self._text: list[str] = []
        self._length = 0
        self._found: list[tuple[str, str]] = []

    def take(self) -> Iterable[tuple[str, str]]:
        """The properties since the last call."""
        found, self._found = self._found, []
        return found

    def startElement(self, name: str, attrs: xmlreader.AttributesImpl) -> None:  # noqa: N802 - SAX's name
        self._end_of_text()
        self._budget.spend(1 + len(attrs))
        outer, prefixes = self._open[-1]
        attributes = list(attrs.items())
        if len(self._open) > MAX_DEPTH or any(len(key) > MAX_NAME for key in (name, *attrs.keys())):
            raise vocabulary.OverBudgetError
        if declared := {key[6:]: _namespace(uri) for key, uri in attributes if key == "xmlns" or key[:6] == "xmlns:"}:
            self._declared += len(declared)
            if self._declared > MAX_PREFIXES:
                raise vocabulary.OverBudgetError
            prefixes = {**prefixes, **declared}
        resolved = _resolved(name, prefixes)
        inside = outer if resolved.startswith("rdf:") else resolved
        self._open.append((inside, prefixes))
        for key, value in attributes:
            resolved = _resolved(key, prefixes) if ":" in key else ""
            # A resource, or a value in RDF's own words, is the value of the element's property.
            self._add(inside if resolved in {"rdf:resource", "rdf:value", "rdf:about"} else resolved, value)

    def endElement(self, name: str) -> None:  # noqa: ARG002, N802 - SAX's
        self._end_of_text()
        self._open.pop()

    def characters(self, content: str) -> None:
        self._budget.spend(len(content) // 1024)
        if self._open[-1][0] and self._length < MAX_VALUE:
            self._text.append(content[: MAX_VALUE - self._length])
            self._length += len(content)

    def _end_of_text(self) -> None:
        if self._text:
            self._add(self._open[-1][0], "".join(self._text))
            self._text.clear()
            self._length = 0

    def _add(self, name: str, value: str) -> None:
        if name and not name.startswith("rdf:") and value.strip():
            self._found.append((name, value[:MAX_VALUE]))


def _resolved(name: str, prefixes: dict[str, str]) -> str:
    """A name as we write it, in lower case and with our own prefix; empty when its namespace says nothing to us."""
    prefix, _, local = name.rpartition(":")
    namespace = prefixes.get(prefix, "")
    return f"{namespace}:{local.lower()}" if namespace else ""


def _namespace(uri: str) -> str:
    bare = uri[:MAX_NAME].strip().lower().removeprefix("https://").removeprefix("http://").rstrip("/#")
    return "tc260" if "tc260" in bare else _NAMESPACES.get(bare, "")


def exif_evidence(found: list[Block], budget: vocabulary.Budget) -> Iterator[Evidence]:
    """What EXIF says; raises OverBudgetError past what is read of one file."""
    for exif in exif_blocks(found):
        budget.spend(1 + len(exif) // 1024)
        for value in _exif_values(exif, _SOFTWARE):
            yield from vocabulary.tool(value.decode(errors="replace"))
        for value in _exif_values(exif, _COMMENTS):
            for text in _readings(value):
                budget.spend(1 + len(text) // 1024)
                yield from vocabulary.statements(text)
        for value in _exif_values(exif, _WINDOWS_COMMENTS):
            yield from vocabulary.statements(value.decode("utf-16-le", errors="replace"))


def _exif_values(exif: bytes, tags: Collection[int]) -> Iterator[bytes]:
    """The values of some tags as the bytes that they are, in the order of the file."""
    entries = list(islice(directory(exif, 4), MAX_EXIF_ENTRIES))
    for pointer in [entry for entry in entries if entry.tag == _DETAILS][:1]:
        entries += islice(directory(exif, pointer.at), MAX_EXIF_ENTRIES)
    wanted = [entry for entry in entries if entry.tag in tags][: 2 * len(tags)]  # a tag said a hundred times is noise
    return (exif[entry.at : entry.at + min(entry.size, MAX_EXIF_VALUE)] for entry in wanted)


def _readings(value: bytes) -> list[str]:
    """A comment as text; wide characters come in either byte order, and nothing says in which."""
    if value.startswith(_WIDE):
        return [value[len(_WIDE) :].decode(codec, errors="replace") for codec in ("utf-16-be", "utf-16-le")]
    return [value.removeprefix(_NARROW).decode(errors="replace")]


def text_evidence(found: list[Block], budget: vocabulary.Budget) -> Iterator[Evidence]:
    """What a PNG's texts and a JPEG's comments say; raises OverBudgetError past what is read of one file."""
    comments = (("Comment", content[:MAX_PNG_TEXT]) for name, content in found if name == b"\xfe")
    for keyword, text in chain(png_texts(found, _PNG), comments):
        budget.spend(1 + len(text) // 1024)
        yield from _PNG[keyword](text.decode(errors="replace"))


class Examiner:
    """Looks an image's file over for what it says about its origin."""

    def __init__(self, trust_anchors_file: Path | None) -> None:
        self._manifests = ManifestReader(trust_anchors_file.read_text() if trust_anchors_file else None)
        # Apart from the pool that checks uploads, so that nobody's metadata keeps others' uploads waiting.
        self._limiter = CapacityLimiter(THREADS)

    async def evidence(self, data: bytes) -> list[Evidence]:
        """The findings in a checked image, from a thread, or that there was no time for it."""
        budget = vocabulary.Budget()
        with move_on_after(vocabulary.BUDGET_S):
            return await to_thread.run_sync(self.examine, data, budget, limiter=self._limiter)
        return [_NO_TIME]

    def examine(self, data: bytes, budget: vocabulary.Budget | None = None) -> list[Evidence]:
        """The findings, each once; where the budget ends, the last one says so."""
        budget = budget or vocabulary.Budget()
        kind = content_type(data)
        found = list(blocks(data, kind))
        readers = {
            "c2pa": self._manifests.evidence(data, kind, found),
            "xmp": xmp_evidence(found, budget),
            "exif": exif_evidence(found, budget),
            "png": text_evidence(found, budget),
        }
        findings: dict[Evidence, None] = {}
        read = [_read(name, reader, findings) for name, reader in readers.items()]
        return [*findings][:MOST] if all(read) else [*[*findings][: MOST - 1], _LEFT_OUT]


def _read(name: str, reader: Iterator[Evidence], findings: dict[Evidence, None]) -> bool:
    """Add what a reader finds; whether it came to its end."""
    try:
        for finding in reader:
            findings[finding] = None
            if len(findings) >= MOST:
                break
    except vocabulary.OverBudgetError:
        return False
    except Exception as error:  # noqa: BLE001 - evidence is an extra: whatever the bytes do, the answer must get through
        _log.warning("evidence_reader_failed", reader=name, cause=type(error).__name__)
    return True
