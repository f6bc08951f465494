"""The gateway measures pictures as training measured those of the drift reference."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from gateway.drift.input_statistics import InputName, measure
from handler.images import decode
from training.metrics import input_statistics


def test_both_know_the_same_statistics() -> None:
    assert get_args(InputName) == tuple(input_statistics.DEFINITIONS)


@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 1e-6), ("WEBP", 1e-6), ("JPEG", 0.03)])
def test_both_find_the_same_numbers(coffee: Path, kind: str, tolerance: float) -> None:
    buffer = BytesIO()
    with Image.open(coffee) as photo:
        photo.convert("RGB").save(buffer, kind)
    data = buffer.getvalue()
    assert measure(data, 1_000_000) == pytest.approx(input_statistics.measure(decode(data), len(data)), rel=tolerance)
