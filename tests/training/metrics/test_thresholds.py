from __future__ import annotations

import math

import pytest
import torch

from handler.spec import ModelSpec
from tests.training.photos import AI, REAL, photo, scored
from training.metrics.thresholds import operating_points, rates_at


def of(real: list[float], generated: list[float]) -> dict[str, float]:
    photos = [photo(REAL)] * len(real) + [photo(AI)] * len(generated)
    return operating_points(scored(photos, real + generated))


def test_the_lowest_threshold_within_the_limit_is_found() -> None:
    real = [index / 1000 for index in range(1, 101)]  # 0.001 to 0.1
    points = of(real, [0.9])
    assert points["false_alarms_5"] == 0.0951  # flags 0.096 to 0.1: five of a hundred
    assert points["false_alarms_1"] == 0.0991  # flags 0.1 alone


def test_photos_of_one_score_are_flagged_together() -> None:
    assert of([0.1] * 90 + [0.3] * 10, [0.9])["false_alarms_5"] == 0.3001


def test_the_balanced_point_lies_midway_between_separate_classes() -> None:
    assert of([0.1, 0.2], [0.6, 0.8])["balanced"] == 0.4


def test_the_balanced_point_weighs_both_classes_alike() -> None:
    """Flagging 0.3 and more finds all, at one false alarm of ten: better than missing one of two."""
    points = of([0.1] * 9 + [0.4], [0.3, 0.9])
    assert 0.1 < points["balanced"] <= 0.3


def test_thresholds_count_served_probabilities() -> None:
    """0.30004 is served as 0.3, so 0.3001 does not flag it."""
    assert of([0.30004], [0.9])["false_alarms_5"] == 0.3001


def test_where_no_threshold_is_strict_enough_the_highest_is_taken() -> None:
    points = of([1.0] * 10, [1.0])
    assert (points["false_alarms_5"], points["false_alarms_1"]) == (0.9999, 0.9999)


def test_real_photos_without_any_score_leave_the_lowest() -> None:
    assert of([0.0] * 10, [0.9])["false_alarms_1"] == 0.0001


@pytest.mark.parametrize(("threshold", "found", "alarms"), [(0.2, 1.0, 0.5), (0.5, 0.5, 0.5), (0.95, 0.0, 0.0)])
def test_rates_are_those_at_the_threshold(threshold: float, found: float, alarms: float) -> None:
    probabilities = [0.1, 0.9, 0.3, 0.8]
    logits = torch.tensor([math.log(p / (1 - p)) for p in probabilities])
    photos = [photo(REAL), photo(REAL), photo(AI), photo(AI)]
    row = rates_at({"point": threshold}, photos, logits, ModelSpec(version="1"), 10)["point"]
    assert (row["threshold"], row["true_positive_rate"], row["false_positive_rate"]) == (threshold, found, alarms)
