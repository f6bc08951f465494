from __future__ import annotations

import struct
import time
import zlib
from io import BytesIO

import pytest
from PIL import Image

from gateway.errors import CorruptImageError
from gateway.images import ImageLimits, check_image
from tests.gateway.fakes import picture

LIMITS = ImageLimits(min_side=10, max_side=10_000, max_pixels=50_000_000)
JPEG, PNG, WEBP = picture("JPEG"), picture("PNG"), picture("WEBP")
MANY = "The image has too many metadata blocks."
SCANS = "The image has too many scans. Save it anew as JPEG."
MALFORMED = "The image's metadata is malformed."


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def in_png(*chunks: bytes) -> bytes:
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def in_jpeg(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def overlapping_exif(entries: int, length: int, order: str = "<") -> bytes:
    """A directory of tags that all claim the same bytes."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, entries)
    tags = (struct.pack(order + "HHII", 0x9000 + index, 7, length - 100, 100) for index in range(entries))
    return (head + b"".join(tags)).ljust(length, b"\0")


def raw_profile(exif: bytes) -> bytes:
    return b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n1\n" + exif.hex().encode())


def scanned(image: Image.Image, times: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times more."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    return data[:-2] + data[data.rfind(b"\xff\xda") : -2] * times + data[-2:]


SMALL = Image.new("L", (64, 64))
ENDLESS = {
    "tiny segments": (in_jpeg(b"\xff\xfe\0\2" * 1_200_000), MANY),
    "filling": (in_jpeg(b"\xff" * 5_000_000), MANY),
    "junk": (in_jpeg(b"\xff\xfe\0\2", bytes(5_000_000)), MANY),
    "lengthless markers": (JPEG[:4] + b"\xff\xd0" * 2_000_000, MANY),
    "tiny chunks": (in_png(png_chunk(b"abCd", b"") * 400_000), MANY),
    "tiny WebP chunks": (WEBP[:12] + b"ABCD\0\0\0\0" * 600_000, MANY),
    "segments between scans": (scanned(SMALL, 0)[:-2] + b"\xff\xfe\0\2" * 1_000_000, MANY),
    "some scans too many": (scanned(SMALL, 100), SCANS),
    "hundreds of thousands of scans": (scanned(SMALL, 300_000), SCANS),
    "scans of a large image": (scanned(Image.new("L", (7000, 7000)), 30), SCANS),
}


@pytest.mark.parametrize(("data", "detail"), ENDLESS.values(), ids=ENDLESS.keys())
def test_what_would_keep_a_reader_busy_is_refused_in_no_time(data: bytes, detail: str) -> None:
    started = time.process_time()
    with pytest.raises(CorruptImageError) as refused:
        check_image(data, LIMITS)
    assert refused.value.detail == detail
    assert time.process_time() - started < (1 if detail == MANY else 0.1)  # Pillow takes 3 to 7 seconds


@pytest.mark.parametrize(
    "data",
    [
        in_jpeg(segment(0xE1, b"Exif\0\0" + overlapping_exif(200, 60_000))),
        in_jpeg(segment(0xE1, b"Exif\0\0" + overlapping_exif(200, 60_000)), segment(0xE1, b"Exif\0\0" + bytes(60_000))),
        in_jpeg(segment(0xE2, b"MPF\0" + overlapping_exif(200, 60_000))),
        in_png(png_chunk(b"eXIf", overlapping_exif(400, 1_000_000, ">"))),
        in_png(png_chunk(b"zTXt", raw_profile(overlapping_exif(200, 60_000)))),
        in_png(png_chunk(b"zTXt", raw_profile(bytes(60_000))) * 2),
        in_png(png_chunk(b"zTXt", raw_profile(overlapping_exif(200, 600_000)))),
        WEBP + b"EXIF" + struct.pack("<I", 60_000) + overlapping_exif(200, 60_000),
    ],
    ids=["JPEG", "JPEG continued", "MPO index", "PNG", "PNG profile", "two profiles", "huge profile", "WebP"],
)
def test_exif_whose_entries_claim_the_same_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptImageError) as refused:
        check_image(data, LIMITS)
    assert refused.value.detail == MALFORMED


@pytest.mark.parametrize(
    "data",
    [
        in_jpeg(segment(0xE1, b"Exif\0\0")),
        in_jpeg(segment(0xE1, b"Exif\0\0II*\0")),
        in_jpeg(segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")),
        in_jpeg(b"\xff" * 1000),
        in_png(png_chunk(b"zTXt", b"Raw profile type exif\0\0" + b"not zlib")),
        in_png(png_chunk(b"tEXt", b"Raw profile type exif\0not hex")),
        in_png(png_chunk(b"tEXt", b"no separator")),
    ],
    ids=["empty", "head alone", "far away", "some filling", "no zlib", "no hex", "no separator"],
)
def test_merely_broken_metadata_spoils_no_picture(data: bytes) -> None:
    check_image(data, LIMITS)


@pytest.mark.parametrize("behind", [b"", b"\xff\xda\0\2" * 1000], ids=["nothing", "a film behind the end"])
def test_a_progressive_photo_passes_whatever_is_behind_it(behind: bytes) -> None:
    check_image(scanned(Image.effect_noise((512, 512), 50), 20) + behind, LIMITS)
