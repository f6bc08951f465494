import io

import pytest
from PIL import Image

from tests.ui.photos import clear_png, rotated_jpeg
from ui.preview import NoPreview, upright_jpeg


def opened(jpeg: bytes) -> Image.Image:
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


@pytest.mark.parametrize("photo", [b"", b"no picture", rotated_jpeg(300, 200)[:200]])
def test_what_cannot_be_drawn_has_no_preview(photo: bytes) -> None:
    with pytest.raises(NoPreview):
        upright_jpeg(photo)
