"""What an image file says besides its pixels, and the same file without it.

Pillow's readers look at all metadata, refuse an image for a fault in it, and follow XMP where browsers do not. So they
are given the pixels alone; orientation, colour profile and transparent colour are read here, as browsers read them.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from handler.colour import MAX_PROFILE, cicp_profile, gamma_profile

MAX_BLOCKS: Final = 20_000
"""Segments or chunks that a file may have; real ones have tens."""
MAX_SCANS: Final = 100
"""Scans of a JPEG, each of which costs a pass over the whole image; encoders write about ten."""
MAX_SCANNED_PIXELS: Final = 1_000_000_000
"""The pixels of all those passes."""
MAX_ENTRIES: Final = 500
"""Entries of an EXIF directory that are looked at."""

_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
_SCAN: Final = 0xDA
_ENDS: Final = frozenset({0xD8, 0xD9})
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_METADATA: Final = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})  # JFIF and Adobe stay: they tell the colour space
_EXIF: Final = b"Exif\0\0"
_ICC: Final = b"ICC_PROFILE\0"
_END_OF_JPEG: Final = b"\xff\xd9"
_APP1: Final = 0xE1
_APP2: Final = 0xE2
_SHORT: Final = 3
_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"


class MalformedFileError(ValueError):
    """No decoder should be given this file."""


@dataclass(frozen=True)
class Parts:
    """A file apart.

    Attributes:
        data: The file without its metadata.
        orientation: EXIF's; 1 where there is none.
        profile: An ICC profile; empty for sRGB.
        transparent: Of a PNG without alpha, the level (grey) or levels (RGB) that are transparent.
        deep: Whether those are of 16 bits.
        has_end: Whether a JPEG's pixels are followed by its end.
        scans: How many a JPEG has.
        all_scans: Whether it lacks none.
    """

    data: bytes | bytearray
    orientation: int = 1
    profile: bytes = b""
    transparent: tuple[int, ...] = ()
    deep: bool = False
    has_end: bool = True
    scans: int = 1
    all_scans: bool = True


def jpeg_parts(data: bytes | bytearray) -> Parts:
    """Take a JPEG apart.

    Raises:
        MalformedFileError: Millions of segments, or more scans than any encoder writes.
    """
    head = list(takewhile(lambda segment: segment[0] != _SCAN, _segments(data)))
    begin = head[-1][2] if head else 2
    segments = [(code, bytes(data[start:end])) for code, start, end in head]
    exif = next((whole[10:] for code, whole in segments if code == _APP1 and whole[4:10] == _EXIF), b"")
    # By the place among the parts and their number.
    icc = {whole[16:18]: whole[18:] for code, whole in segments if code == _APP2 and whole[4:16] == _ICC}
    frame = next((whole for code, whole in segments if code in _FRAMES), bytes(10))
    scans = _scans(data, begin, frame)
    return Parts(
        b"".join([data[:2], *(whole for code, whole in segments if code not in _METADATA), data[begin:]]),
        orientation(exif),
        _joined(icc),
        has_end=data.rfind(_END_OF_JPEG, begin) >= 0,
        scans=len(scans),
        all_scans=_all_coefficients(scans, frame),
    )


def png_parts(data: bytes | bytearray) -> Parts:
    """Take a PNG apart; of an animated one, the still image is kept. A chunk with a wrong checksum says nothing.

    Raises:
        MalformedFileError: Millions of chunks.
    """
    kept, found = [data[:8]], dict[bytes, bytes]()
    for name, begin, end in _chunks(data):
        if name in {b"IHDR", b"PLTE", b"IDAT"}:
            kept.append(data[begin:end])
        if name in {b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"eXIf"}:
            content = bytes(data[begin + 8 : end - 4])
            if zlib.crc32(name + content).to_bytes(4, "big") == data[end - 4 : end]:
                found.setdefault(name, content)
        if name == b"tRNS" and 0 < len(found.get(name, b"")) <= len(found.get(b"PLTE", b"")) // 3:
            kept.append(data[begin:end])  # alpha of a palette, which Pillow reads as browsers do
    depth, kind = (found.get(b"IHDR", b"").ljust(10, b"\0"))[8:10]
    levels = _transparent(found.get(b"tRNS", b""), depth, kind)
    exif = found.get(b"eXIf", b"").removeprefix(_EXIF)
    return Parts(b"".join([*kept, _PNG_END]), orientation(exif), _png_profile(found), levels, deep=depth == 16)  # noqa: PLR2004


def orientation(exif: bytes) -> int:
    """Return the orientation that an EXIF block without its signature names; 1 where it names none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4], "<")
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * min(count, MAX_ENTRIES), 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, at)
            if (tag, kind) == (0x0112, _SHORT):
                return int(value)
    except struct.error:  # the block ends
        pass
    return 1


def _segments(data: bytes | bytearray, at: int = 2) -> Iterator[tuple[int, int, int]]:
    """Yield the code, the begin and the end of each segment up to the end of the image, those after scans too."""
    for _ in range(MAX_BLOCKS):
        marker = _MARKER.search(data, at)
        if marker is None or (code := data[marker.end() - 1]) in _ENDS:
            return
        at = marker.end() + max(2, int.from_bytes(data[marker.end() : marker.end() + 2], "big"))
        yield code, marker.start(), at
    raise MalformedFileError("too many segments")


def _scans(data: bytes | bytearray, begin: int, frame: bytes) -> list[bytes]:
    """Return the headers of a JPEG's scans; the first alone where all components are in it and no other is read."""
    found: list[bytes] = []
    for code, start, end in _segments(data, begin):
        if code == _SCAN:
            found.append(bytes(data[start + 4 : end]))
            if len(found) > MAX_SCANS:
                raise MalformedFileError("too many scans")
            if frame[1] not in _PROGRESSIVE and frame[9:10] == found[0][:1]:
                break
    return found


def _joined(icc: dict[bytes, bytes]) -> bytes:
    """Return the profile that segments hold by their place and number; empty if one is missing."""
    places = [bytes([place, len(icc)]) for place in range(1, min(len(icc), 255) + 1)]
    return b"".join(icc[place] for place in places) if icc.keys() == {*places} else b""


def _all_coefficients(scans: Sequence[bytes], frame: bytes) -> bool:
    """Tell whether the scans bring all 64 coefficients of every component to full precision."""
    brought = set()
    for scan in scans:
        first, last, precision = scan[-3:]
        if precision & 15 == 0:
            brought |= {(one, place) for one in scan[1:-3:2] for place in range(first, min(last, 63) + 1)}
    return len(brought) >= 64 * frame[9]


def _chunks(data: bytes | bytearray) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the begin and the end of each chunk."""
    at = 8
    for _ in range(MAX_BLOCKS):
        if at + 8 > len(data):
            return
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, at, at + 12 + size
        at += 12 + size
    raise MalformedFileError("too many chunks")


def _transparent(levels: bytes, depth: int, kind: int) -> tuple[int, ...]:
    """Return what a tRNS chunk names, on the scale that Pillow has pixels of this depth and colour type on."""
    if len(levels) != {0: 2, 2: 6}.get(kind):
        return ()
    most = 2**depth - 1
    scale = max(1, 255 // most)  # decoders spread 1, 2 and 4 bits over 8, and compare no more bits than pixels have
    return tuple((level & most) * scale for level in struct.unpack(f">{len(levels) // 2}H", levels))


def _png_profile(found: dict[bytes, bytes]) -> bytes:
    """Return the profile by the chunk that counts (PNG, third edition, 4.3); empty for sRGB."""
    if b"cICP" in found:
        return cicp_profile(found[b"cICP"])
    if b"iCCP" in found:
        _, _, packed = found[b"iCCP"].partition(b"\0")
        try:
            return zlib.decompressobj().decompress(packed[1:], MAX_PROFILE + 1)
        except zlib.error:
            return b""
    if b"sRGB" in found:
        return b""
    return gamma_profile(found.get(b"gAMA", b""), found.get(b"cHRM", b""))
