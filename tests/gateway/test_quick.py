from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from gateway.images import is_quick
from tests.gateway.fakes import picture

JPEG = picture("JPEG")


def with_segments(*sizes: int) -> bytes:
    """A JPEG with comments of so many bytes."""
    comments = b"".join(b"\xff\xfe" + (size + 2).to_bytes(2) + bytes(size) for size in sizes)
    return JPEG[:2] + comments + JPEG[2:]


def test_a_plain_jpeg_is_quick() -> None:
    assert is_quick(JPEG)


def test_a_photo_with_an_icc_profile_and_some_exif_is_quick() -> None:
    exif, buffer = Image.Exif(), BytesIO()
    exif[0x0110] = "Camera"
    Image.new("RGB", (64, 48)).save(buffer, "JPEG", exif=exif, icc_profile=bytes(3144))
    assert is_quick(buffer.getvalue())


@pytest.mark.parametrize(
    "data",
    [
        with_segments(*[1] * 33),
        with_segments(9_000, 9_000),
        with_segments(*[0] * 20_001),
        JPEG[:2] + b"\xff" * 30_000 + JPEG[2:],
        picture("PNG"),
        picture("WEBP"),
        b"GIF89a",
        b"",
    ],
    ids=["many segments", "large segments", "no end of segments", "filling", "PNG", "WebP", "GIF", "nothing"],
)
def test_what_could_take_long_is_not_quick(data: bytes) -> None:
    assert not is_quick(data)


def test_pixels_do_not_count() -> None:
    buffer = BytesIO()
    Image.effect_noise((800, 800), 100).save(buffer, "JPEG", quality=95)
    assert len(buffer.getvalue()) > 400_000
    assert is_quick(buffer.getvalue())
