from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.training.marks import NOISE
from tests.training.pictures import encoded, noise, row, save, small
from training.checks import leaks
from training.checks.leaks import Auc, Leak, leak, measure, sample
from training.data.manifest import LABELS, Photo

pytestmark = [pytest.mark.slow, *NOISE]


def photos(sources: int, groups: int, size: int = 1) -> list[Photo]:
    return [
        row(f"{label}-{source}-{group}-{index}", label, "train", f"{label}-{source}", f"{label}-{source}-{group}")
        for label in LABELS
        for source in range(sources)
        for group in range(groups)
        for index in range(size)
    ]


def labels(rows: list[Photo]) -> NDArray[np.float64]:
    return np.array([LABELS.index(photo.label) for photo in rows], dtype=np.float64)


def across(found: Leak) -> Auc:
    assert found.across_sources is not None
    return found.across_sources


def within(found: Leak) -> Auc:
    assert found.within_sources is not None
    return found.within_sources


def random(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=shape)


def test_a_feature_that_is_the_label_leaks_on_unseen_sources() -> None:
    rows = photos(sources=5, groups=20)
    found = leak(labels(rows)[:, None], rows, seed=0)
    assert across(found).auc == 1
    assert (across(found).distance, across(found).interval) == (0.5, (1, 1))
    assert across(found).units == 10


def test_a_constant_is_chance_to_the_last_digit() -> None:
    rows = photos(sources=5, groups=20) + photos(sources=2, groups=50)[:100]
    found = leak(np.ones((len(rows), 3)), rows, seed=0)
    for auc in (across(found), within(found)):
        assert (auc.auc, auc.distance, auc.interval) == (0.5, 0, (0.5, 0.5))


def test_a_trait_of_each_source_leaks_on_seen_sources_alone() -> None:
    rows = photos(sources=6, groups=30)
    names = sorted({photo.source for photo in rows})
    places = np.random.default_rng(3).permutation(len(names))
    traits = np.array([places[names.index(photo.source)] for photo in rows], dtype=np.float64)[:, None]
    found = leak(traits, rows, seed=0)
    assert within(found).auc == pytest.approx(1, abs=0.01)
    assert across(found).auc < 0.75


def test_noise_is_near_chance_with_an_interval_around_it() -> None:
    rows = photos(sources=5, groups=60)
    found = leak(random(len(rows), 4), rows, seed=0)
    low, high = across(found).interval
    assert low < 0.5 < high
    assert across(found).auc == pytest.approx(0.5, abs=0.1)


def test_pictures_of_a_group_are_held_out_together() -> None:
    rows = photos(sources=1, groups=30, size=4)
    names = sorted({photo.group for photo in rows})
    places = np.random.default_rng(0).permutation(len(names))
    found = leak(np.array([places[names.index(photo.group)] for photo in rows])[:, None], rows, seed=0)
    assert within(found).units == 60
    assert within(found).auc < 0.7


def test_one_source_of_a_class_says_nothing_about_unseen_ones() -> None:
    rows = [photo for photo in photos(sources=4, groups=20) if photo.label == "real" or photo.source.endswith("-0")]
    found = leak(random(len(rows), 2), rows, seed=0)
    assert found.across_sources is None
    assert found.within_sources is not None


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_pictures_say_nothing_at_all(count: int) -> None:
    rows = photos(sources=1, groups=1)[:count]
    found = leak(random(count, 2), rows, seed=0)
    assert (found.across_sources, found.within_sources) == (None, None)


def test_a_sample_is_even_over_classes_and_sources() -> None:
    rows = photos(sources=2, groups=100) + [row(f"few{index}", "real", "train", "few") for index in range(5)]
    chosen = sample(rows, 60, seed=0)
    assert Counter((photo.label, photo.source) for photo in chosen) == {
        ("real", "real-0"): 13,
        ("real", "real-1"): 12,
        ("real", "few"): 5,
        ("ai_generated", "ai_generated-0"): 15,
        ("ai_generated", "ai_generated-1"): 15,
    }
    assert chosen == sample(rows, 60, seed=0) != sample(rows, 60, seed=1)
    assert sample(rows, 10_000, seed=0) == rows


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Photo]]:
    """Pictures of two sources a class: real ones are JPEG and dark, AI-generated ones PNG and bright."""
    root = tmp_path_factory.mktemp("told")
    rows = photos(sources=2, groups=20)
    for seed, photo in enumerate(rows):
        bright = photo.label == "ai_generated"
        pixels = noise(seed, *((120, 256) if bright else (0, 136)))
        save(root, photo.path, encoded(pixels) if bright else encoded(pixels, "JPEG", quality=90))
    return root, rows


def test_the_pipeline_takes_metadata_away_and_not_brightness(told: tuple[Path, list[Photo]]) -> None:
    root, rows = told
    report = measure(rows, small(root))
    assert (report.pictures, report.of) == (80, 80)
    assert (across(report.metadata_of_files).auc, across(report.metadata_after_pipeline).auc) == (1, 0.5)
    assert across(report.statistics_after_pipeline).auc > 0.9
    assert measure(rows, small(root)) == report


def test_no_photos_leave_nothing_measured(tmp_path: Path) -> None:
    report = measure([], small(tmp_path))
    assert report.pictures == 0
    assert report.statistics_after_pipeline.within_sources is None


def test_metadata_are_read_from_the_header() -> None:
    data = encoded(noise(0)[:16], "JPEG", quality=75, subsampling=0, progressive=1)
    values = dict(zip(leaks.METADATA, leaks.features(data), strict=True))
    assert (values["width"], values["height"], values["channels"]) == (32, 16, 3)
    assert values["log_aspect"] == pytest.approx(np.log(2))
    assert values["bits_per_pixel"] == pytest.approx(8 * len(data) / 512)
    assert (values["is_jpeg"], values["is_png"], values["is_progressive"], values["subsampling"]) == (1, 0, 1, 0)
    assert values["quantisation_tables"] == 2
    finer = dict(zip(leaks.METADATA, leaks.features(encoded(noise(0), "JPEG", quality=95)), strict=True))
    assert finer["luma_quantisation"] < values["luma_quantisation"]


@pytest.mark.parametrize(("file_format", "name"), [("PNG", "is_png"), ("WEBP", "is_webp")])
def test_formats_without_quantisation_tables_have_none(file_format: str, name: str) -> None:
    values = dict(zip(leaks.METADATA, leaks.features(encoded(noise(0), file_format)), strict=True))
    assert values[name] == 1
    assert values["luma_quantisation"] == values["subsampling"] == leaks.ABSENT


def test_equal_encodings_of_unlike_pictures_have_equal_metadata_but_for_their_content() -> None:
    one, other = (leaks.features(encoded(noise(seed), "JPEG", quality=90)) for seed in (0, 1))
    assert not np.array_equal(one, other)
    assert np.array_equal(leaks.without_content(one), leaks.without_content(other))


def test_statistics_of_a_plain_picture_are_known() -> None:
    plain = np.array(Image.new("RGB", (8, 8), (255, 250, 245))).transpose(2, 0, 1)
    values = dict(zip(leaks.STATISTICS, leaks.pixel_statistics(plain), strict=True))
    known = {"mean_red": 255, "mean_green": 250, "mean_blue": 245, "saturation": 10 / 255, "near_white": 1}
    assert values == pytest.approx(dict.fromkeys(leaks.STATISTICS, 0) | known)


def test_statistics_of_noise_are_larger() -> None:
    values = leaks.pixel_statistics(noise(0).transpose(2, 0, 1))
    named = dict(zip(leaks.STATISTICS, values, strict=True))
    assert named["entropy"] > 6
    assert named["log_laplacian"] > named["log_gradient"] > 5
    assert named["near_white"] < 0.01
