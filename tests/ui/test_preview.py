import io

import pytest
from PIL import Image

from tests.ui.photos import clear_png, flat, rotated_jpeg, scans
from ui.photos import upright_jpeg


def opened(jpeg: bytes | None) -> Image.Image:
    assert jpeg is not None
    image = Image.open(io.BytesIO(jpeg))
    assert image.format == "JPEG"
    return image


def test_a_rotated_photo_stands_upright_and_loses_its_exif() -> None:
    image = opened(upright_jpeg(rotated_jpeg(300, 200)))
    assert image.size == (200, 300)
    assert not image.getexif()


def test_a_large_photo_gets_small_and_keeps_its_shape() -> None:
    assert opened(upright_jpeg(rotated_jpeg(4000, 2000))).size == (512, 1024)


def test_transparency_lies_on_white() -> None:
    assert opened(upright_jpeg(clear_png(40, 30))).getpixel((20, 15)) == (255, 255, 255)


def test_a_progressive_photo_is_drawn_and_one_of_endless_scans_is_not() -> None:
    assert opened(upright_jpeg(scans(0))).size == (1024, 1024)
    assert upright_jpeg(scans(40)) is None


@pytest.mark.parametrize("photo", [flat(5000, "PNG", "RGBA"), flat(4000, "WEBP", "RGB")], ids=["png", "webp"])
def test_what_would_take_too_much_memory_is_not_decoded(photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "thumbnail", lambda *_: pytest.fail("decoded"))
    assert upright_jpeg(photo) is None


@pytest.mark.parametrize("photo", [b"", b"no picture", rotated_jpeg(300, 200)[:200]])
def test_what_cannot_be_drawn_has_no_preview(photo: bytes) -> None:
    assert upright_jpeg(photo) is None
