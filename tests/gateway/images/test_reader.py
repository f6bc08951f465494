from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from gateway.errors import (
    ApiError,
    CorruptImageError,
    EmptyFileError,
    InvalidDimensionsError,
    InvalidFormatError,
)
from gateway.images.reader import ImageLimits, check_image, content_type
from tests.gateway.fakes import picture

LIMITS = ImageLimits(min_side=10, max_side=10_000, max_pixels=50_000_000)
KINDS = ("JPEG", "PNG", "WEBP", "MPO")
PICTURES = [picture(kind) for kind in KINDS]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    fields = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", fields), (b"IDAT", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def webp_header(width: int, height: int) -> bytes:
    """A lossless WebP that claims a size."""
    bits = (width - 1) | (height - 1) << 14
    chunk = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", bits) + b"\0"
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize("data", PICTURES, ids=KINDS)
def test_supported_formats_pass(data: bytes) -> None:
    check_image(data, LIMITS)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("JPEG", mode) for mode in ("L", "RGB", "CMYK", "YCbCr")),
        *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
    ],
)
def test_every_kind_of_pixel_passes(kind: str, mode: str) -> None:
    check_image(saved(Image.new(mode, (64, 48)), kind), LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "MPO"])
def test_several_frames_pass(kind: str) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    with Image.open(BytesIO(data)) as image:
        assert getattr(image, "n_frames", 1) == 3
    check_image(data, LIMITS)


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\b\0\0"}, {"icc_profile": b"p" * 90_000}]
)
def test_extras_of_a_jpeg_pass(options: dict[str, Any]) -> None:
    check_image(saved(Image.new("RGB", (64, 48)), "JPEG", **options), LIMITS)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - any option of Pillow's
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (picture("GIF"), "image/gif"),
        (picture("BMP"), "image/bmp"),
        (picture("TIFF"), "image/tiff"),
        (picture("ICO"), "image/x-icon"),
        (picture("AVIF"), "image/avif"),
        (b"%PDF-1.7 ", "application/pdf"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "unknown"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unknown"),
        (b"\0", "unknown"),
    ],
)
def test_other_content_is_named_when_known(data: bytes, kind: str) -> None:
    with pytest.raises(InvalidFormatError) as refused:
        check_image(data, LIMITS)
    assert refused.value.detail == f"Supported formats: JPEG, PNG, WebP. Got: {kind}"


def test_nothing_is_an_empty_file() -> None:
    with pytest.raises(EmptyFileError):
        check_image(b"", LIMITS)


@pytest.mark.parametrize("data", PICTURES, ids=KINDS)
def test_a_cut_header_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptImageError):
        check_image(data[:20], LIMITS)


@pytest.mark.parametrize("size", [(10, 10), (10_000, 5000), (10, 10_000), (5000, 10_000)])
def test_sizes_at_the_limits_pass(size: tuple[int, int]) -> None:
    check_image(png_header(*size), LIMITS)


@pytest.mark.parametrize("size", [(9, 10), (10, 9), (10_001, 10), (10, 10_001), (60_000, 60_000)])
def test_sides_past_the_limits_are_refused_from_the_header(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidDimensionsError) as refused:
        check_image(png_header(*size), LIMITS)
    assert refused.value.detail == f"Each side must have 10 to 10000 pixels. Got: {size[0]}x{size[1]}"


@pytest.mark.parametrize("make", [png_header, webp_header])
def test_too_many_pixels_are_refused_from_the_header(make: object) -> None:
    assert callable(make)
    with pytest.raises(InvalidDimensionsError) as refused:
        check_image(make(10_000, 10_000), LIMITS)
    assert refused.value.detail == "At most 50 megapixels. Got: 10000x10000"


@settings(max_examples=300, deadline=None)
@given(head=st.sampled_from([b"", *(data[:cut] for data in PICTURES for cut in (3, 12, 20))]), tail=st.binary())
@example(head=b"\xff\xd8\xff", tail=b"")
def test_no_bytes_escape_as_anything_but_a_client_error(head: bytes, tail: bytes) -> None:
    assert outcome(head + tail) == 400


@settings(max_examples=300, deadline=None)
@given(
    data=st.sampled_from(PICTURES),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 1000),
)
def test_mutated_pictures_pass_or_are_client_errors(data: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    mutated = bytearray(data)
    for position, value in changes:
        mutated[position % len(mutated)] = value
    assert outcome(bytes(mutated[: max(cut, 1)])) <= 400


def outcome(data: bytes) -> int:
    try:
        check_image(data, LIMITS)
    except ApiError as error:
        return error.status
    return 200


@given(st.binary(max_size=40))
def test_a_type_is_always_a_media_type_or_unknown(data: bytes) -> None:
    kind = content_type(data)
    assert kind == "unknown" or kind.count("/") == 1
