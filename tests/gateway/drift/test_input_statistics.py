from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gateway.drift.input_statistics import measure
from tests.gateway.fakes import picture

MANY = 16_000_000


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's options
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_the_numbers_of_a_plain_picture() -> None:
    data = picture("PNG", (200, 100), "white")
    assert measure(data, MANY) == {
        "width": 200.0,
        "height": 100.0,
        "megapixels": 0.02,
        "bytes_per_pixel": len(data) / 20_000,
        "brightness": 255.0,
        "sharpness": 0.0,
    }


def test_sizes_are_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "WEBP"):
        found = measure(encoded(Image.new("RGB", (60, 20)), kind, exif=exif), MANY)
        assert (found["width"], found["height"]) == (20.0, 60.0)


def test_only_exif_turns_a_picture() -> None:
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for kind in ("JPEG", "WEBP"):
        found = measure(encoded(Image.new("RGB", (60, 20)), kind, xmp=packet), MANY)
        assert (found["width"], found["height"]) == (60.0, 20.0)


def test_transparency_lies_on_white() -> None:
    assert measure(encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 0)), "PNG"), MANY)["brightness"] == 255.0
    assert measure(encoded(Image.new("P", (20, 20)), "PNG", transparency=0), MANY)["brightness"] == 255.0


def test_sixteen_bits_are_scaled() -> None:
    assert measure(encoded(Image.new("I;16", (20, 20), 65_535), "PNG"), MANY)["brightness"] == 255.0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_beyond_so_many_pixels_only_the_header_is_read(kind: str) -> None:
    data = picture(kind, (200, 100))
    assert set(measure(data, 20_000)) - set(measure(data, 19_999)) == {"brightness", "sharpness"}
    assert measure(data, 19_999)["width"] == 200.0


@pytest.mark.parametrize(
    ("kind", "options", "is_decoded"),
    [("JPEG", {}, True), ("JPEG", {"progressive": True}, False), ("PNG", {}, False), ("WEBP", {}, False)],
)
def test_what_can_only_be_decoded_whole_is_decoded_up_to_4_megapixels(
    kind: str, options: dict[str, bool], is_decoded: bool
) -> None:
    found = measure(encoded(Image.new("RGB", (2001, 2000)), kind, **options), MANY)
    assert ("brightness" in found) is is_decoded
    assert found["megapixels"] == 4.002


@pytest.mark.parametrize("data", [b"", b"no picture", picture("GIF"), picture("PNG", (300, 200))[:-30]])
def test_what_cannot_be_read_has_no_numbers(data: bytes) -> None:
    assert measure(data, MANY) == {}


def test_a_picture_of_one_line_has_no_sharpness() -> None:
    assert measure(picture("PNG", (1000, 2)), MANY)["sharpness"] == 0.0


@pytest.mark.parametrize(("kind", "scale"), [("JPEG", 1), ("JPEG", 3), ("PNG", 1), ("WEBP", 1)])
def test_a_photograph_is_measured_as_the_reference_is(coffee: Path, kind: str, scale: int) -> None:
    """Brightness within a grey level and sharpness within a few percent of Pillow's whole decode."""
    with Image.open(coffee) as photo:
        data = encoded(photo.convert("RGB").resize((600 * scale, 400 * scale)), kind, quality=90)
    with Image.open(BytesIO(data)) as whole:
        exact = measure(encoded(whole.convert("RGB"), "PNG", compress_level=0), MANY)
    found = measure(data, MANY)
    assert found["brightness"] == pytest.approx(exact["brightness"], abs=0.3)
    assert found["sharpness"] == pytest.approx(exact["sharpness"], rel=0.05)
