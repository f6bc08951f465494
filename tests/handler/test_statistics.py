import numpy as np
import pytest
from PIL import Image

from handler import statistics
from handler.statistics import measure
from tests.handler.pictures import coffee


def test_a_flat_picture_has_brightness_and_no_sharpness() -> None:
    assert measure(Image.new("RGB", (200, 100), (90, 90, 90)), size=5000) == {
        "width": 200,
        "height": 100,
        "megapixels": 0.02,
        "bytes_per_pixel": 0.25,
        "brightness": 90,
        "sharpness": 0,
    }


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    """A checkerboard of 0 and 255, of the size that is measured: the Laplacian is 1020 or -1020 everywhere."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert measure(Image.fromarray(board).convert("RGB"), 1)["sharpness"] == 1020**2


def test_a_blurred_picture_is_less_sharp() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert measure(image.reduce(4).resize(image.size), 1)["sharpness"] < 0.5 * measure(image, 1)["sharpness"]


def test_the_thinnest_picture_has_no_inner_pixel() -> None:
    assert measure(Image.new("RGB", (10_000, 10)), 1)["sharpness"] == 0


@pytest.mark.parametrize("scale", [2, 5])
def test_a_large_picture_is_measured_on_a_small_copy_within_a_tenth(
    scale: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Image.open(coffee()) as photo:
        large = photo.convert("RGB").resize((scale * photo.width, scale * photo.height))
    found = measure(large, 1)
    monkeypatch.setattr(statistics, "GREY_SIDE", 10_000)
    whole = measure(large, 1)
    assert found["brightness"] == pytest.approx(whole["brightness"], abs=0.5)
    assert found["sharpness"] == pytest.approx(whole["sharpness"], rel=0.1)
    assert found["sharpness"] != whole["sharpness"]
