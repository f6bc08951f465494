"""XMP: IPTC's source type and AI fields, China's label, and the tool that wrote the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from xml.sax import SAXException  # the error and the handler's base alone; defusedxml does the reading
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

from defusedxml import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from gateway.evidence.budget import Budget, OverBudgetError
from gateway.evidence.vocabulary import aigc_label, generator, source_type, statements
from gateway.images.blocks import Block
from gateway.images.png_text import MAX_TEXT, png_texts
from gateway.schemas import Evidence

MAX_PACKETS: Final = 4
MAX_DEPTH: Final = 100
MAX_NAME: Final = 256
MAX_VALUE: Final = 64 * 1024
"""Characters of one property that are looked at."""
MAX_PREFIXES: Final = 1000
"""Declarations of prefixes in one packet."""
CHUNK: Final = 16 * 1024

_JPEG_APP1: Final = b"\xe1"
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
_SOURCES: Final = frozenset({"iptc:digitalsourcetype", "iptc:digitalsourcefiletype"})
_TOOLS: Final = frozenset(
    {"xmp:creatortool", "photoshop:credit", "photoshop:source", "tiff:software", "event:softwareagent"}
)
_TEXTS: Final = frozenset({"dc:description", "exif:usercomment", "tiff:imagedescription"})
_AI_FIELDS: Final = {
    "iptc:aisystemversionused": "version of an AI system named",
    "iptc:aipromptinformation": "prompt for an AI system given",
    "iptc:aipromptwritername": "writer of a prompt for an AI system named",
}
"""IPTC's standard of 2025; AISystemUsed has a value of its own."""


def xmp_evidence(found: list[Block], budget: Budget) -> Iterator[Evidence]:
    """What the XMP packets among an image's blocks say, up to the first fault of each.

    Raises:
        OverBudgetError: More than is read of one file.
    """
    for number, packet in enumerate(_packets(found)):
        if number >= MAX_PACKETS:
            raise OverBudgetError
        for name, value in _properties(packet, budget):
            yield from _findings(name, value)


def _findings(name: str, value: str) -> Iterator[Evidence]:
    if name in _SOURCES and (code := source_type(value)):
        yield Evidence(type="iptc_source_type", value=code, strength="medium")
    elif name in _TOOLS and (tool := generator(value)):
        yield Evidence(type="generator_software", value=tool, strength="weak")
    elif name == "iptc:aisystemused":
        yield Evidence(
            type="iptc_ai_field", value=generator(value, signed=True) or "AI system named", strength="medium"
        )
    elif name in _AI_FIELDS:
        yield Evidence(type="iptc_ai_field", value=_AI_FIELDS[name], strength="medium")
    elif name in {"tc260:aigc", "tc260:label"}:
        if label := aigc_label(value, named=True):
            yield Evidence(type="aigc_label", value=label, strength="medium")
    elif name in _TEXTS:
        yield from statements(value)
    elif name == "dcterms:provenance":
        yield Evidence(type="c2pa_manifest", value="kept elsewhere, not fetched", strength="weak")


def _packets(found: list[Block]) -> Iterator[bytes]:
    for block in found:
        if block.name == _JPEG_APP1 and block.content.startswith(_JPEG_SIGNATURE):
            yield block.content[len(_JPEG_SIGNATURE) :][:MAX_TEXT]
        elif block.name == b"XMP ":
            yield block.content[:MAX_TEXT]
    for text in png_texts(found, {_PNG_KEYWORD}):
        yield text.text


def _properties(packet: bytes, budget: Budget) -> Iterator[tuple[str, str]]:
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


class _Properties(ContentHandler):
    """Resolves the prefixes whose namespaces we know, and names a value after its property, not its `rdf:li`."""

    def __init__(self, budget: Budget) -> None:
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

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802 - SAX's name
        self._end_of_text()
        self._budget.spend(1 + len(attrs))
        outer, prefixes = self._open[-1]
        attributes = list(attrs.items())
        if len(self._open) > MAX_DEPTH or any(len(key) > MAX_NAME for key in (name, *attrs.keys())):
            raise OverBudgetError
        if declared := {key[6:]: _namespace(uri) for key, uri in attributes if key == "xmlns" or key[:6] == "xmlns:"}:
            self._declared += len(declared)
            if self._declared > MAX_PREFIXES:
                raise OverBudgetError
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
