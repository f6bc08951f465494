"""XMP: IPTC's digital source type, and the tool that wrote the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from xml.etree.ElementTree import Element, ParseError  # the types alone; defusedxml does the reading

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from gateway.evidence.vocabulary import generator, source_type
from gateway.images.blocks import Block
from gateway.images.png_text import MAX_TEXT, png_texts
from gateway.schemas import Evidence

_JPEG_APP1: Final = b"\xe1"
_JPEG_SIGNATURE: Final = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_KEYWORD: Final = "XML:com.adobe.xmp"
_RESOURCE: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"
_SOURCE: Final = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
_REMOTE: Final = "{http://purl.org/dc/terms/}provenance"
_TOOLS: Final = frozenset({"{http://ns.adobe.com/xap/1.0/}CreatorTool", "{http://ns.adobe.com/photoshop/1.0/}Credit"})


def xmp_evidence(found: list[Block]) -> Iterator[Evidence]:
    """What the XMP packets among an image's blocks say; one that is no XML says nothing."""
    for packet in _packets(found):
        for name, value in _properties(packet):
            if name == _SOURCE and (code := source_type(value)):
                yield Evidence(type="iptc_source_type", value=code, strength="medium")
            elif name in _TOOLS and (tool := generator(value)):
                yield Evidence(type="generator_software", value=tool, strength="weak")
            elif name == _REMOTE:
                yield Evidence(type="c2pa_manifest", value="kept elsewhere, not fetched", strength="weak")


def _packets(found: list[Block]) -> Iterator[bytes]:
    for block in found:
        if block.name == _JPEG_APP1 and block.content.startswith(_JPEG_SIGNATURE):
            yield block.content[len(_JPEG_SIGNATURE) :][:MAX_TEXT]
        elif block.name == b"XMP ":
            yield block.content[:MAX_TEXT]
    for text in png_texts(found, {_PNG_KEYWORD}):
        yield text.text


def _properties(packet: bytes) -> Iterator[tuple[str, str]]:
    """Names and values, of attributes and elements alike: XMP may write a property either way."""
    try:
        root = fromstring(packet.strip(b"\0 \t\r\n"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):  # an encoding may be unknown or a lie
        return
    for element in _all(root):
        yield from element.attrib.items()
        yield element.tag, element.attrib.get(_RESOURCE) or element.text or ""


def _all(root: Element) -> Iterable[Element]:
    return root.iter()
