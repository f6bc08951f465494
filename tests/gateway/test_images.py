from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from gateway.errors import ApiError
from gateway.images import Block, check_image, content_type, is_quick, png_texts
from gateway.settings import Settings
from tests.gateway.fakes import picture
from tests.handler.pictures import png_header

LIMITS = Settings()
JPEG, PNG, WEBP = picture("JPEG"), picture("PNG"), picture("WEBP")
MANY = "The image has too many metadata blocks."
SCANS = "The image has too many scans. Save it anew as JPEG."
MALFORMED = "The image's metadata is malformed."
CORRUPT = "The image is truncated or corrupt."


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


def refusal(data: bytes) -> str | None:
    try:
        check_image(data, LIMITS)
    except ApiError as refused:
        return refused.detail
    return None


SMALL = Image.new("L", (64, 64))
ENDLESS = {
    "tiny segments": (in_jpeg(b"\xff\xfe\0\2" * 1_200_000), MANY),
    "filling": (in_jpeg(b"\xff" * 5_000_000), MANY),
    "junk": (in_jpeg(b"\xff\xfe\0\2", bytes(5_000_000)), MANY),
    "lengthless markers": (JPEG[:4] + b"\xff\xd0" * 2_000_000, MANY),
    "tiny chunks": (in_png(png_chunk(b"abCd", b"") * 400_000), MANY),
    "segments between scans": (scanned(SMALL, 0)[:-2] + b"\xff\xfe\0\2" * 1_000_000, MANY),
    "hundreds of thousands of scans": (scanned(SMALL, 300_000), SCANS),
}


@pytest.mark.parametrize(("data", "detail"), ENDLESS.values(), ids=ENDLESS.keys())
def test_what_would_keep_a_reader_busy_is_refused_in_no_time(data: bytes, detail: str) -> None:
    started = time.process_time()
    assert refusal(data) == detail
    assert time.process_time() - started < (1 if detail == MANY else 0.1)  # Pillow takes 3 to 7 seconds


def frame(code: int = 0xC0, components: int = 1, bits: int = 8, size: tuple[int, int] = (64, 48)) -> bytes:
    return segment(code, struct.pack(">BHHB", bits, size[1], size[0], components))


def bare(*segments: bytes) -> bytes:
    """A JPEG without pixels."""
    return b"\xff\xd8" + b"".join(segments) + b"\xff\xd9\0\0"


COMMENT, SCAN, CHUNK = segment(0xFE, b""), segment(0xDA, b"\1"), png_chunk(b"abCd", b"")
TRAP = segment(0xE1, b"Exif\0\0" + overlapping_exif(200, 60_000))
LARGEST = frame(0xC2, size=(10_000, 5_000))


@pytest.mark.parametrize(
    ("most", "more", "detail"),
    [
        (bare(COMMENT * 19_998, frame(), SCAN), bare(COMMENT * 19_999, frame(), SCAN), MANY),
        (bare(COMMENT, bytes(19_997), frame(), SCAN), bare(COMMENT, bytes(19_998), frame(), SCAN), MANY),
        (b"\xff\xd8" + frame() + bytes(20_000), b"\xff\xd8" + frame() + bytes(20_001), MANY),
        (bare(frame(0xC2), SCAN, COMMENT * 19_997), bare(frame(0xC2), SCAN, COMMENT * 19_998), MANY),
        (in_png(CHUNK * 19_996), in_png(CHUNK * 19_997), MANY),
        (WEBP + b"ABCD\0\0\0\0" * 19_998, WEBP + b"ABCD\0\0\0\0" * 19_999, MANY),
        (bare(frame(0xC2), SCAN * 100, b"\xff\xd9", SCAN), bare(frame(0xC2), SCAN * 101), SCANS),
        (bare(frame(0xC2), SCAN, b"\xff\xd8", SCAN * 101), bare(frame(0xC2), b"\xff\xda\0\0" * 101), SCANS),
        (bare(frame(components=3), segment(0xDA, b"\3"), SCAN * 101), bare(frame(components=3), SCAN * 101), SCANS),
        (bare(LARGEST, SCAN * 20), bare(LARGEST, SCAN * 21), SCANS),
        (bare(frame(components=3)), bare(frame(components=2)), CORRUPT),
        (bare(frame(components=4)), bare(frame(components=5)), CORRUPT),
        (bare(frame(bits=8)), bare(frame(bits=7)), CORRUPT),
        (bare(frame(), SCAN), bare(SCAN, frame()), CORRUPT),
        (bare(frame(), b"\xff\xd9"), bare(COMMENT, b"\xff\xd9", frame()), CORRUPT),
        (bare(frame()), bare(segment(0xC0, b"\x08\0\x40\0\x40")), CORRUPT),
    ],
)
def test_a_header_is_read_up_to_its_bounds(most: bytes, more: bytes, detail: str) -> None:
    assert (refusal(most), refusal(more)) == (None, detail)


@pytest.mark.parametrize("code", range(0xC0, 0xD0))
def test_the_scans_of_a_progressive_frame_are_counted_and_a_table_is_no_frame(code: int) -> None:
    progressive, tables = {0xC2, 0xC6, 0xCA, 0xCE}, {0xC4, 0xC8, 0xCC}
    expected = SCANS if code in progressive else CORRUPT if code in tables else None
    assert refusal(bare(frame(code), SCAN * 101)) == expected


@pytest.mark.parametrize(
    "marker", [*(bytes([0xFF, code]) for code in (0, 1, *range(0xD0, 0xD9), 0xFF)), b"\xff\xfe\0\0"]
)
def test_exif_is_found_behind_a_marker_that_has_no_length(marker: bytes) -> None:
    assert refusal(bare(COMMENT, marker, TRAP, frame())) == MALFORMED


@pytest.mark.parametrize(
    "data",
    [
        in_jpeg(TRAP),
        in_jpeg(TRAP, segment(0xE1, b"Exif\0\0" + bytes(60_000))),
        in_jpeg(segment(0xE2, b"MPF\0" + overlapping_exif(200, 60_000))),
        in_png(png_chunk(b"eXIf", overlapping_exif(400, 1_000_000, ">"))),
        in_png(png_chunk(b"zTXt", raw_profile(overlapping_exif(200, 60_000)))),
        in_png(png_chunk(b"zTXt", raw_profile(bytes(60_000))) * 2),
        WEBP + b"EXIF" + struct.pack("<I", 60_000) + overlapping_exif(200, 60_000),
        WEBP + b"ABCD\1\0\0\0x\0EXIF" + struct.pack("<I", 60_000) + overlapping_exif(200, 60_000),
    ],
    ids=["JPEG", "continued", "MPO index", "PNG", "PNG profile", "two profiles", "WebP", "filling"],
)
def test_exif_whose_entries_claim_the_same_bytes_is_refused(data: bytes) -> None:
    assert refusal(data) == MALFORMED


SIZES = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), start=1)) | {16: 8}  # TIFF 6, EXIF 2.32, BigTIFF


@pytest.mark.parametrize(("kind", "size"), SIZES.items())
def test_values_of_any_type_may_claim_twice_the_bytes_that_there_are(kind: int, size: int) -> None:
    for more, past_the_end, detail in ((0, 0, None), (1, 0, MALFORMED), (1, 1, None)):
        counts = [640 // size, 640 // size, 640 // size + more]
        tags = [struct.pack("<HHII", 0x9000, kind, count, 960 - size * count + past_the_end) for count in counts]
        exif = (b"II*\0" + struct.pack("<IH", 8, 3) + b"".join(tags)).ljust(960, b"\0")
        assert refusal(bare(segment(0xE1, b"Exif\0\0" + exif), frame())) == detail


@pytest.mark.parametrize(
    ("name", "head", "pack"),
    [
        (b"tEXt", b"", bytes), (b"zTXt", b"\0", zlib.compress),
        (b"iTXt", b"\0\0en\0x\0", bytes), (b"iTXt", b"\1\0\0\0", zlib.compress),
    ],
)  # fmt: skip
def test_a_profile_in_a_text_has_less_than_256_kib(name: bytes, head: bytes, pack: Callable[[bytes], bytes]) -> None:
    for length, detail in ((256 * 1024 - 1, None), (256 * 1024, MALFORMED)):
        assert refusal(in_png(png_chunk(name, b"Raw profile type exif\0" + head + pack(b"7" * length)))) == detail


def test_50_texts_are_read_of_those_whose_keyword_is_asked_for() -> None:
    word = "k" * 79  # the longest that PNG allows
    found = [Block(b"tEXt", name.encode() + b"\0text") for name in ["other"] * 60 + [word] * 60]
    assert list(png_texts(found, {word})) == [(word, b"text")] * 50


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


KINDS = ("JPEG", "PNG", "WEBP", "MPO")
PICTURES = [picture(kind) for kind in KINDS]


def webp_header(width: int, height: int) -> bytes:
    """A lossless WebP that claims a size."""
    bits = (width - 1) | (height - 1) << 14
    chunk = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", bits) + b"\0"
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - any option of Pillow's
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RGB = Image.new("RGB", (64, 48))
EXIF = b"Exif\0\0MM\0*\0\0\0\b\0\0"
MODES = {"JPEG": ("L", "RGB", "CMYK", "YCbCr"), "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")}
WRONG_CHUNKS = [b"\0\0\0\4gAMA\0\0\0\1wrng", b"\0\0\0\3iCCPa\0\7" + (0x4ECC23DC).to_bytes(4, "big")]
HONEST = {
    **dict(zip(KINDS, PICTURES, strict=True)),
    **{f"{kind} {mode}": saved(Image.new(mode, (64, 48)), kind) for kind, modes in MODES.items() for mode in modes},
    "transparent WebP": saved(Image.new("RGBA", (64, 48)), "WEBP"),
    **{f"frames of {kind}": saved(RGB, kind, save_all=True, append_images=[RGB] * 2) for kind in ("WEBP", "MPO")},
    "frames of PNG": saved(RGB, "PNG", save_all=True, append_images=[Image.new("RGB", (64, 48), "red")] * 2),
    "progressive": saved(RGB, "JPEG", progressive=True),
    "EXIF": saved(RGB, "JPEG", exif=EXIF),
    "profile": saved(RGB, "JPEG", icc_profile=b"p" * 90_000),
    # What is wrong beside the pixels is no fault of the image.
    **{f"wrong chunk {wrong[4:8]!r}": in_png(wrong) for wrong in WRONG_CHUNKS},
    "broken profile": PICTURES[0][:2] + b"\xff\xe2\0\x0eICC_PROFILE\0" + PICTURES[0][2:],
}


@pytest.mark.parametrize("data", HONEST.values(), ids=HONEST.keys())
def test_honest_images_pass(data: bytes) -> None:
    assert check_image(data, LIMITS) == (data, 64 * 48)


def iso(major: bytes, *compatible: bytes) -> bytes:
    """The beginning of an ISO base media file."""
    brands = b"ftyp" + major + bytes(4) + b"".join(compatible)
    return struct.pack(">I", len(brands) + 4) + brands + b"\0\0\0\x08free"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (picture("GIF"), "image/gif"),
        (picture("BMP"), "image/bmp"),
        (picture("TIFF"), "image/tiff"),
        (picture("ICO"), "image/x-icon"),
        (picture("AVIF"), "image/avif"),
        (b"%PDF-1.7 ", "application/pdf"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made by hand --><svg/>", "image/svg+xml"),
        (b"<?xml version='1.0'?><feed/>", "unknown"),
        (b" " * 1020 + b"<svg/>", "image/svg+xml"),
        (b" " * 1021 + b"<svg/>", "unknown"),
        (iso(b"isom") + b"heic", "video/mp4"),
        *((iso(brand), "image/heic") for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")),
        (iso(b"mif1", b"mif1", b"heic"), "image/heic"),
        (iso(b"msf1", b"hevc"), "image/heic"),
        (iso(b"mif1", b"miaf", b"avif"), "image/avif"),
        (iso(b"msf1"), "image/heif"),
        (iso(b"mif1"), "image/heif"),
        (iso(b"avis", b"msf1"), "image/avif"),
        (iso(b"isom", b"mp42"), "video/mp4"),
        (b"\xff\xff\xff\xffftyp" + b"abcd" * 100_000, "video/mp4"),
        (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ", "image/jp2"),
        (b"\xff\x4f\xff\x51\0\x2f", "image/jp2"),
        (b"\xff\x0a\xfa\x1f", "image/jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
        (b"\0", "unknown"),
    ],
)
def test_other_content_is_named_when_known(data: bytes, kind: str) -> None:
    assert refusal(data) == f"Supported formats: JPEG, PNG, WebP. Got: {kind}"


@pytest.mark.parametrize("size", [(10, 10), (10_000, 5000), (10, 10_000), (9_999, 17)])
def test_the_pixels_of_a_header_are_counted(size: tuple[int, int]) -> None:
    for data in (png_header(*size), webp_header(*size), bare(frame(size=size))):
        assert check_image(data, LIMITS) == (data, size[0] * size[1])


def test_nothing_is_an_empty_file() -> None:
    assert refusal(b"") == "The uploaded file has no content."


@pytest.mark.parametrize("data", PICTURES, ids=KINDS)
def test_a_cut_header_is_corrupt(data: bytes) -> None:
    assert refusal(data[:20]) == CORRUPT


@pytest.mark.parametrize("size", [(9, 10), (10, 9), (10_001, 10), (10, 10_001), (60_000, 60_000)])
def test_sides_past_the_limits_are_refused_from_the_header(size: tuple[int, int]) -> None:
    assert refusal(png_header(*size)) == f"Each side must have 10 to 10000 pixels. Got: {size[0]}x{size[1]}"


@pytest.mark.parametrize("data", [png_header(10_000, 10_000), webp_header(10_000, 10_000)])
def test_too_many_pixels_are_refused_from_the_header(data: bytes) -> None:
    assert refusal(data) == "At most 50 megapixels. Got: 10000x10000"


@settings(max_examples=300, deadline=None)
@given(head=st.sampled_from([b"", *(data[:cut] for data in PICTURES for cut in (3, 12, 20))]), tail=st.binary())
@example(head=b"\xff\xd8\xff", tail=b"")
def test_no_bytes_escape_as_anything_but_a_client_error(head: bytes, tail: bytes) -> None:
    kind = content_type(head + tail)
    assert kind == "unknown" or kind.count("/") == 1
    with pytest.raises(ApiError) as refused:
        check_image(head + tail, LIMITS)
    assert refused.value.status == 400


@settings(max_examples=300, deadline=None)
@given(
    data=st.sampled_from(PICTURES),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 1000),
)
def test_mutated_images_pass_or_are_client_errors(data: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    mutated = bytearray(data)
    for position, value in changes:
        mutated[position % len(mutated)] = value
    try:
        check_image(bytes(mutated[: max(cut, 1)]), LIMITS)
    except ApiError as error:
        assert error.status == 400  # noqa: PT017 - or none


CAMERA = Image.Exif()
CAMERA[0x0110] = "Camera"


@pytest.mark.parametrize(
    ("data", "quick"),
    [
        (saved(Image.new("RGB", (64, 48)), "JPEG", exif=CAMERA, icc_profile=bytes(3144)), True),
        (bare(COMMENT * 32), True),
        (bare(COMMENT * 33), False),
        (bare(segment(0xFE, bytes(8192)) * 2), True),
        (bare(segment(0xFE, bytes(8192)) * 2, segment(0xFE, b"x")), False),
        (bare(COMMENT).ljust(1024 * 1024, b"\0"), True),
        (bare(COMMENT).ljust(1024 * 1024 + 1, b"\0"), False),
        (PICTURES[0][:2] + b"\xff" * 30_000 + PICTURES[0][2:], False),
        *((data, False) for data in (*PICTURES[1:3], b"GIF89a", b"")),
    ],
)
def test_only_the_header_of_a_usual_jpeg_is_quick_whatever_its_pixels(data: bytes, *, quick: bool) -> None:
    assert is_quick(data) is quick
