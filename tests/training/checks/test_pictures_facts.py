from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.pictures import encoded, noise, row, save
from training.checks.pictures import Broken, Facts, inspect, inspect_all


def test_a_picture_is_described_upright_with_its_container(tmp_path: Path) -> None:
    save(tmp_path, "a.png", encoded(noise(0)[:20]))
    facts = inspect(tmp_path / "a.png")
    assert isinstance(facts, Facts)
    assert (facts.width, facts.height, facts.format) == (32, 20, "PNG")


def test_equal_pixels_have_one_digest_whatever_the_format(tmp_path: Path) -> None:
    save(tmp_path, "a.png", encoded(noise(0)))
    save(tmp_path, "a.webp", encoded(noise(0), "WEBP", lossless=1))
    save(tmp_path, "b.png", encoded(noise(1)))
    png, webp, other = (inspect(tmp_path / name) for name in ("a.png", "a.webp", "b.png"))
    assert isinstance(png, Facts)
    assert isinstance(webp, Facts)
    assert isinstance(other, Facts)
    assert png.digest == webp.digest != other.digest
    assert png.look == webp.look != other.look


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "missing"),
        (b"", "unsupported_format"),
        (encoded(noise(0))[:300], "corrupt_image"),
        (encoded(noise(0, side=4)), "bad_dimensions"),
    ],
)
def test_a_broken_picture_says_why(content: bytes | None, code: str, tmp_path: Path) -> None:
    if content is not None:
        save(tmp_path, "a.png", content)
    assert inspect(tmp_path / "a.png") == Broken(code)


@pytest.mark.parametrize("threads", [0, 3])
def test_facts_come_in_the_order_of_the_photos(threads: int, tmp_path: Path) -> None:
    photos = [row(f"{side}.png", "real") for side in range(10, 30)]
    for photo in photos:
        side = int(Path(photo.path).stem)
        save(tmp_path, photo.path, encoded(noise(side, side=side)))
    facts = inspect_all(tmp_path, photos, threads)
    assert [fact.width for fact in facts if isinstance(fact, Facts)] == list(range(10, 30))
