from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.spec import ModelSpec
from tests.training.photos import AI, REAL, photo, scored
from training.evaluation.figures import score
from training.evaluation.goals import by_source, operating_points, rates_at


def of(real: list[float], generated: list[float]) -> dict[str, float]:
    """Return each point's threshold on the balanced probability, which is 1 - base rate."""
    photos = [photo(REAL)] * len(real) + [photo(AI)] * len(generated)
    points = operating_points(scored(photos, real + generated), ())
    return {name: round(1 - base_rate, 4) for name, base_rate in points.items()}


def test_the_highest_base_rate_within_the_limit_is_found() -> None:
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


def test_base_rates_count_served_probabilities() -> None:
    """0.30004 would be served as 0.5 at the base rate 0.7, and is a false alarm there."""
    assert of([0.29998], [0.9])["false_alarms_5"] == 0.3001


def test_where_no_base_rate_is_strict_enough_the_lowest_is_taken() -> None:
    points = of([1.0] * 10, [1.0])
    assert (points["false_alarms_5"], points["false_alarms_1"]) == (0.9999, 0.9999)


def test_real_photos_without_any_score_leave_the_highest() -> None:
    assert of([0.0] * 10, [0.9])["false_alarms_1"] == 0.0001


def test_false_alarms_count_on_product_photos_by_the_worse_of_all_pooled_and_the_mean_over_sources() -> None:
    """A landscape's score does not count; a small shop's photos count as much as a large one's."""
    large = [photo(REAL, "large", domain="shoes")] * 38
    small = [photo(REAL, "small", domain="shoes")] * 2
    photos = [*large, *small, photo(REAL, "alps", domain="landscape"), photo(AI)]
    predicted = scored(photos, [0.1] * 38 + [0.1, 0.3] + [0.6, 0.9])
    assert 1 - operating_points(predicted, {"shoes"})["false_alarms_5"] == pytest.approx(0.3001)
    assert 1 - operating_points(predicted.that(lambda one: one.source != "small"), {"shoes"})["false_alarms_5"] < 0.11


def test_each_source_is_held_against_the_base_rate_that_the_others_choose() -> None:
    photos = [photo(REAL, source) for source in "abc" for _ in range(10)] + [photo(AI, "d")]
    spread = by_source(scored(photos, [0.1] * 10 + [0.2] * 10 + [0.3] * 10 + [0.9]), (), "false_alarms_5")
    assert (spread["sources"], spread["n"], spread["worst"], spread["worst_share"]) == (3, 30, "c", 1.0)
    assert (spread["pooled"], spread["mean"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


def test_one_source_says_nothing_of_others() -> None:
    assert by_source(scored([photo(REAL), photo(AI)], [0.1, 0.9]), (), "false_alarms_5") == {"sources": 1}


@settings(deadline=None)
@given(st.lists(st.floats(-9, 9), min_size=1, max_size=30), st.lists(st.floats(-9, 9), min_size=1, max_size=30))
def test_an_operating_point_flags_at_one_half_no_more_than_it_promises(real: list[float], fakes: list[float]) -> None:
    photos = [photo(REAL)] * len(real) + [photo(AI)] * len(fakes)
    logits, spec = torch.tensor(real + fakes, dtype=torch.float64), ModelSpec(version="1")
    for name, limit in (("false_alarms_5", 0.05), ("false_alarms_1", 0.01)):
        base_rate = operating_points(score(photos, logits, spec), ())[name]
        predicted = score(photos, logits, dataclasses.replace(spec, base_rate=base_rate))
        assert predicted.flagged[~predicted.generated].mean() <= limit
        if base_rate < 0.9999:  # the next one would flag too many
            predicted = score(photos, logits, dataclasses.replace(spec, base_rate=base_rate + 0.0001))
            assert predicted.flagged[~predicted.generated].mean() > limit


@pytest.mark.parametrize(("base_rate", "found", "alarms"), [(0.8, 1.0, 0.5), (0.5, 0.5, 0.5), (0.05, 0.0, 0.0)])
def test_rates_are_those_at_the_base_rate(base_rate: float, found: float, alarms: float) -> None:
    probabilities = [0.1, 0.9, 0.3, 0.8]
    logits = torch.tensor([math.log(p / (1 - p)) for p in probabilities])
    photos = [photo(REAL), photo(REAL), photo(AI), photo(AI)]
    row = rates_at({"point": base_rate}, photos, logits, ModelSpec(version="1"), 10)["point"]
    assert (row["base_rate"], row["true_positive_rate"], row["false_positive_rate"]) == (base_rate, found, alarms)
