from __future__ import annotations

import numpy as np
import pytest

from tests.training.photos import AI, REAL, photo
from training.evaluation.figures import exact_interval, group_weights, percentile_interval

PHOTOS = [photo(REAL, group="x"), photo(AI, group="z"), photo(REAL, group="y"), photo(REAL, group="x")]


def test_photos_of_a_group_are_drawn_together() -> None:
    weights = group_weights(PHOTOS, 50)
    assert weights.shape == (50, 4)
    assert np.array_equal(weights[:, 0], weights[:, 3])
    assert not np.array_equal(weights[:, 0], weights[:, 2])


def test_each_resample_draws_as_many_groups_of_each_class_as_there_are() -> None:
    weights = group_weights(PHOTOS, 50)
    assert (weights[:, 0] + weights[:, 2]).tolist() == [2] * 50
    assert weights[:, 1].tolist() == [1] * 50


def test_a_group_with_both_classes_is_drawn_for_each_by_itself() -> None:
    photos = [photo(label, group=group) for label in (REAL, AI) for group in "ab"]
    weights = group_weights(photos, 50)
    assert not np.array_equal(weights[:, :2], weights[:, 2:])


def test_an_interval_leaves_out_a_fortieth_at_each_end() -> None:
    assert percentile_interval(np.arange(1001.0)) == pytest.approx([25, 975])


@pytest.mark.parametrize(
    ("share", "n", "expected"),
    [(0, 10, [0, 0.3085]), (1, 10, [0.6915, 1]), (0.5, 10, [0.1871, 0.8129]), (0, 1, [0, 0.975])],
)
def test_exact_intervals_are_clopper_and_pearsons(share: float, n: int, expected: list[float]) -> None:
    assert exact_interval(share, n) == pytest.approx(expected, abs=1e-4)
