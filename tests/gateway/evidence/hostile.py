"""Metadata that is small to send and was huge to read, for the tests of evidence, uploads and the whole process."""

from __future__ import annotations

import zlib
from typing import Final

from tests.gateway.test_images import in_jpeg, in_png, png_chunk, segment

XMP_HEAD: Final = b"http://ns.adobe.com/xap/1.0/\0"
XMP_KEYWORD: Final = b"XML:com.adobe.xmp\0"
LARGE: Final = 262_144
"""Bytes of a packet that are read; each of these has as many."""


def _filled(start: bytes, piece: bytes, end: bytes = b"") -> bytes:
    return start + piece * ((LARGE - len(start) - len(end)) // len(piece)) + end


XMP: Final[dict[str, bytes]] = {
    "one long namespace": _filled(b'<a xmlns="http://' + b"u" * 60_000 + b'">', b"<b/>"),
    "many namespaces": _filled(
        b"<a " + b" ".join(b'xmlns:p%d="http://%d%s"' % (index, index, b"x" * 200) for index in range(900)) + b">",
        b'<p1:b p2:c="" p3:d="" p4:e=""/>',
    ),
    "a namespace each": b"".join(b'<a xmlns:p%d="u">' % index for index in range(12_000)),
    "long names": b"<a>" + b"".join(b"<%s%d/>" % (b"n" * 5000, index) for index in range(50)),
    "nested": _filled(b"", b"<a>"),
    "flat": _filled(b"<a>", b"<b/>", b"</a>"),
    "attributes": b"<a " + b" ".join(b'a%d=""' % index for index in range(24_000)) + b"/>",
    "entities": _filled(b"<a>", b"&#65;&amp;", b"</a>"),
    "one value": _filled(b'<a b="', b"x", b'"/>'),
    "comments": _filled(b"<a>", b"<!---->", b"</a>"),
    "a document type": b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>',
    "tools": _filled(
        b'<a xmlns:t="http://ns.adobe.com/tiff/1.0/">', b"<t:Software>" + b"y" * 60 + b"</t:Software>", b"</a>"
    ),
    "descriptions": _filled(
        b'<a xmlns:t="http://purl.org/dc/elements/1.1/">', b"<t:description>steps:1,</t:description>", b"</a>"
    ),
}
"""XML that costs a reader with namespaces up to a gigabyte, or one without bounds its time."""


def packed_xmp(packet: bytes) -> bytes:
    """A chunk of some hundred bytes that holds a packet."""
    return png_chunk(b"iTXt", XMP_KEYWORD + b"\1\0\0\0" + zlib.compress(packet, 9))


def pngs() -> dict[str, bytes]:
    """A PNG of each kind, with as many packets or texts as are looked at."""
    texts = {
        "parameters": b"Steps: 1, seed: x,",
        "job ids": b"job id: ",
        "spaces": b'"aigc" :' + b" " * 400,
        "signatures": b"signature: " + b"a" * 400,
    }
    full = {
        name: png_chunk(b"zTXt", b"parameters\0\0" + zlib.compress(_filled(b"", text))) for name, text in texts.items()
    }
    return {name: in_png(packed_xmp(xml) * 4) for name, xml in XMP.items()} | {
        name: in_png(chunk * 50) for name, chunk in full.items()
    }


def jpeg(packet: bytes) -> bytes:
    """A JPEG with as much of a packet as a segment holds, again and again."""
    return in_jpeg(segment(0xE1, XMP_HEAD + packet[: 65_533 - len(XMP_HEAD)]) * 4)
