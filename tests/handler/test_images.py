import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from handler.images import (
    MAX_PIXELS,
    MAX_SIDE,
    MIN_SIDE,
    BadImageError,
    Limits,
    decode,
    reduced,
)
from tests.handler.pictures import (
    UPRIGHT_BY_ORIENTATION,
    difference,
    encode,
    orientation,
    photo,
    png_header,
    same,
    stored_for,
    verdict_on,
)

WHOLE_FILES = [
    encode(photo(40, 30), "JPEG", exif=orientation(6)),
    encode(photo(40, 30), "JPEG", progressive=True),
    encode(photo(40, 30), "PNG"),
    encode(photo(40, 30).quantize(16), "PNG", transparency=3),
    encode(photo(40, 30), "WEBP"),
    encode(photo(40, 30), "WEBP", lossless=True, exif=orientation(3)),
    encode(photo(40, 30), "MPO", save_all=True, append_images=[photo(40, 30)]),
]


@pytest.mark.parametrize("value", UPRIGHT_BY_ORIENTATION)
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_every_exif_orientation_comes_out_upright(kind: str, options: dict[str, bool], value: int) -> None:
    data = encode(stored_for(photo(), value), kind, exif=orientation(value), **options)
    assert same(decode(data), photo())


@pytest.mark.parametrize("value", UPRIGHT_BY_ORIENTATION)
def test_a_jpeg_of_any_orientation_comes_out_upright(value: int) -> None:
    upright = photo(96, 64)
    decoded = decode(encode(stored_for(upright, value), "JPEG", exif=orientation(value), quality=100, subsampling=0))
    assert difference(decoded, upright).max() <= 8


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_unknown_orientation_leaves_the_picture_as_it_is(value: int) -> None:
    assert same(decode(encode(photo(), "PNG", exif=orientation(value))), photo())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"", b"garbage", b"II*\0\x08\0\0\0\x05\0"], ids=["empty", "garbage", "cut"])
def test_a_broken_exif_block_spoils_no_picture(kind: str, block: bytes) -> None:
    assert decode(encode(photo(), kind, exif=b"Exif\0\0" + block)).size == (96, 64)


@pytest.mark.parametrize(("broken", "size"), [(1, (64, 96)), (499, (64, 96)), (500, (96, 64))])
def test_the_orientation_is_looked_for_among_500_entries_broken_ones_too(broken: int, size: tuple[int, int]) -> None:
    turned = struct.pack("<HHI4s", 0x0112, 3, 1, b"\x06\0\0\0")
    width_as_text = struct.pack("<HHI4s", 0x0100, 2, 4, b"abc\0")
    block = b"II*\0" + struct.pack("<IH", 8, broken + 1) + width_as_text * broken + turned
    assert decode(encode(photo(96, 64), "JPEG", exif=b"Exif\0\0" + block)).size == size


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_transparency_lies_on_white(kind: str, options: dict[str, bool]) -> None:
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[:, :10] = (255, 0, 0, 0)
    pixels[:, 10:20] = (255, 0, 0, 255)
    pixels[:, 20:] = (0, 0, 0, 51)
    decoded = decode(encode(Image.fromarray(pixels), kind, **options))
    assert [decoded.getpixel((x, 5)) for x in (5, 15, 25)] == [(255, 255, 255), (255, 0, 0), (204, 204, 204)]


@pytest.mark.parametrize(
    ("ink", "colour"), [((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 0), (255, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))]
)
def test_a_cmyk_jpeg_becomes_rgb(ink: tuple[int, ...], colour: tuple[int, ...]) -> None:
    decoded = decode(encode(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100))
    assert (decoded.mode, decoded.getpixel((8, 8))) == ("RGB", colour)


def test_an_animated_webp_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    decoded = decode(encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True))
    assert (decoded.size, decoded.getpixel((10, 10))) == ((20, 20), (255, 0, 0))


def test_an_mpo_of_a_phone_gives_its_first_picture() -> None:
    second = Image.new("RGB", (30, 30), "blue")
    data = encode(Image.new("RGB", (20, 20), "red"), "MPO", save_all=True, append_images=[second])
    assert (decode(data).size, decode(data).getpixel((10, 10))) == ((20, 20), (254, 0, 0))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_file_is_corrupt_wherever_it_ends(kind: str) -> None:
    data = encode(photo(), kind)
    cuts = range(20, len(data) - 20, len(data) // 50)
    assert {cut: verdict_on(data[:cut]) for cut in cuts} == dict.fromkeys(cuts, "corrupt_image")


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_other_formats_are_unsupported(kind: str) -> None:
    assert verdict_on(encode(photo(), kind)) == "unsupported_format"


@pytest.mark.parametrize("data", [b"", b"\0", b"no picture at all", b"\x89PNG", b"RIFF\0\0\0\0WAVE", b"%PDF-1.7"])
def test_no_picture_is_unsupported(data: bytes) -> None:
    assert verdict_on(data) == "unsupported_format"


def test_a_bytearray_is_as_good_as_bytes() -> None:
    assert same(decode(bytearray(encode(photo(), "PNG"))), photo())


@pytest.mark.parametrize(("width", "height"), [(MIN_SIDE, MIN_SIDE), (MAX_SIDE, MIN_SIDE), (MIN_SIDE, MAX_SIDE)])
def test_the_bounds_of_the_sides_are_allowed(width: int, height: int) -> None:
    assert decode(encode(Image.new("RGB", (width, height)), "PNG")).size == (width, height)


@pytest.mark.parametrize(("width", "height"), [(9, 20), (20, 9), (1, 1), (10_001, 10), (10, 10_001)])
def test_sides_out_of_bounds_are_bad_dimensions(width: int, height: int) -> None:
    assert verdict_on(encode(Image.new("RGB", (width, height)), "PNG")) == "bad_dimensions"


@pytest.mark.parametrize(("width", "height"), [(10_000, 5_001), (7_072, 7_071), (14_000, 14_000), (2**31 - 1, 10)])
def test_too_large_a_picture_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    refused = "bad_dimensions" if max(width, height) > MAX_SIDE else "too_many_pixels"
    assert verdict_on(png_header(width, height)) == refused


def test_fifty_megapixels_are_allowed() -> None:
    assert MAX_PIXELS == 10_000 * 5_000
    assert verdict_on(png_header(10_000, 5_000)) == "corrupt_image"  # it has no pixels, but was tried


@pytest.mark.parametrize(
    ("limits", "size", "refused"),
    [
        (Limits(min_side=1), (1, 20), None),
        (Limits(max_side=20_000), (20_000, 10), None),
        (Limits(max_side=100), (101, 20), "bad_dimensions"),
        (Limits(max_pixels=100), (11, 10), "too_many_pixels"),
    ],
)
def test_the_caller_may_set_the_limits(limits: Limits, size: tuple[int, int], refused: str | None) -> None:
    data = encode(Image.new("RGB", size), "PNG")
    try:
        found: object = reduced(data, lambda picture: picture.size, limits)
    except BadImageError as error:
        found = error.code
    assert found == (refused or size)


@pytest.mark.parametrize(
    ("size", "refused"),
    [((65_535, 10), "corrupt_image"), ((65_536, 10), "bad_dimensions"), ((20_001, 10_000), "too_many_pixels")],
)
def test_no_limits_go_beyond_what_a_worker_bears(size: tuple[int, int], refused: str) -> None:
    with pytest.raises(BadImageError) as caught:
        reduced(png_header(*size), lambda picture: picture.size, Limits(1, 999_999_999, 999_999_999))
    assert caught.value.code == refused


def check_outcome(data: bytes) -> None:
    try:
        image = decode(data)
    except BadImageError:
        return
    assert image.mode == "RGB"
    assert min(image.size) >= MIN_SIDE


@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBPVP8 "]), st.binary())
@settings(deadline=None)
def test_random_bytes_never_break_the_decoder(signature: bytes, noise: bytes) -> None:
    check_outcome(signature + noise)


@given(
    st.sampled_from(WHOLE_FILES),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    st.integers(0, 10_000),
)
@settings(deadline=None, max_examples=300)
def test_damaged_files_never_break_the_decoder(data: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(data)] = value
    check_outcome(bytes(damaged[: len(data) - cut % len(data)]))
