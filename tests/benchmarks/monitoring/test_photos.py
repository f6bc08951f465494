"""The demo's photos: usual ones spread as the reference's, odd ones do not."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageStat

from benchmarks.drift_demo import Reference, usual
from deploy.layout import ROOT


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.read(ROOT / "model_store" / "reference.json")


def opened(photos: list[bytes]) -> list[Image.Image]:
    return [Image.open(BytesIO(photo)) for photo in photos]


def test_usual_photos_have_the_references_sizes_and_brightness(reference: Reference) -> None:
    pictures = opened(usual(reference, 20))
    assert {picture.format for picture in pictures} == {"JPEG"}
    for name, sides in (("width", [one.width for one in pictures]), ("height", [one.height for one in pictures])):
        wanted = [round(reference.draw(name, (index + 0.5) / 20)) for index in range(20)]
        assert sides == wanted
    brightness = [ImageStat.Stat(one.convert("L")).mean[0] for one in pictures]
    assert float(np.median(brightness)) == pytest.approx(reference.draw("brightness", 0.5), rel=0.1)
