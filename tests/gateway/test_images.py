from __future__ import annotations

import struct
import time
import zlib
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from gateway.errors import ApiError, CorruptImageError, EmptyFileError, InvalidDimensionsError, InvalidFormatError
from gateway.images import check_image, content_type, is_quick
from gateway.settings import Settings
from tests.gateway.fakes import picture

LIMITS = Settings()
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


KINDS = ("JPEG", "PNG", "WEBP", "MPO")
PICTURES = [picture(kind) for kind in KINDS]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    fields = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", fields) + png_chunk(b"IDAT", b"")


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
    **{f"wrong chunk {chunk[4:8]!r}": PICTURES[1][:33] + chunk + PICTURES[1][33:] for chunk in WRONG_CHUNKS},
    "broken profile": PICTURES[0][:2] + b"\xff\xe2\0\x0eICC_PROFILE\0" + PICTURES[0][2:],
    **{f"{size}": png_header(*size) for size in ((10, 10), (10_000, 5000), (10, 10_000), (5000, 10_000))},
}


@pytest.mark.parametrize("data", HONEST.values(), ids=HONEST.keys())
def test_honest_images_pass(data: bytes) -> None:
    check_image(data, LIMITS)


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
    with pytest.raises(InvalidFormatError) as refused:
        check_image(data, LIMITS)
    assert refused.value.detail == f"Supported formats: JPEG, PNG, WebP. Got: {kind}"


@pytest.mark.parametrize("size", [(64, 48), (10, 10), (9_999, 17)])
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {"progressive": True}),
        ("PNG", "RGB", {}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("WEBP", "RGB", {"exif": b"Exif\0\0MM\0*\0\0\0\b\0\0"}),
    ],
)
def test_the_pixels_of_a_header_are_counted(
    kind: str, mode: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    data = saved(Image.new(mode, size), kind, **options)
    assert check_image(data, LIMITS) == (data, size[0] * size[1])


def test_nothing_is_an_empty_file() -> None:
    with pytest.raises(EmptyFileError):
        check_image(b"", LIMITS)


@pytest.mark.parametrize("data", PICTURES, ids=KINDS)
def test_a_cut_header_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptImageError):
        check_image(data[:20], LIMITS)


@pytest.mark.parametrize("size", [(9, 10), (10, 9), (10_001, 10), (10, 10_001), (60_000, 60_000)])
def test_sides_past_the_limits_are_refused_from_the_header(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidDimensionsError) as refused:
        check_image(png_header(*size), LIMITS)
    assert refused.value.detail == f"Each side must have 10 to 10000 pixels. Got: {size[0]}x{size[1]}"


@pytest.mark.parametrize("data", [png_header(10_000, 10_000), webp_header(10_000, 10_000)])
def test_too_many_pixels_are_refused_from_the_header(data: bytes) -> None:
    with pytest.raises(InvalidDimensionsError) as refused:
        check_image(data, LIMITS)
    assert refused.value.detail == "At most 50 megapixels. Got: 10000x10000"


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


def with_comments(*sizes: int) -> bytes:
    """A JPEG with comments of so many bytes."""
    comments = b"".join(b"\xff\xfe" + (size + 2).to_bytes(2) + bytes(size) for size in sizes)
    return PICTURES[0][:2] + comments + PICTURES[0][2:]


CAMERA = Image.Exif()
CAMERA[0x0110] = "Camera"


@pytest.mark.parametrize(
    ("data", "quick"),
    [
        (PICTURES[0], True),
        (saved(Image.new("RGB", (64, 48)), "JPEG", exif=CAMERA, icc_profile=bytes(3144)), True),
        (saved(Image.effect_noise((800, 800), 100), "JPEG", quality=95), True),
        (with_comments(*[1] * 33), False),
        (with_comments(9_000, 9_000), False),
        (with_comments(*[0] * 20_001), False),
        (PICTURES[0][:2] + b"\xff" * 30_000 + PICTURES[0][2:], False),
        *((data, False) for data in (*PICTURES[1:3], b"GIF89a", b"")),
    ],
)
def test_only_the_header_of_a_usual_jpeg_is_quick_whatever_its_pixels(data: bytes, *, quick: bool) -> None:
    assert is_quick(data) is quick
