import dataclasses
import math
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics  # type: ignore[import-untyped]
from torchmetrics.functional.classification import binary_calibration_error

from handler.spec import ModelSpec, decide
from tests.training.pictures import AI, REAL, overlapping, photo, scored
from training.evaluation.figures import (
    Floats,
    Scored,
    breakdown,
    calibration_error,
    calibration_error_by_chance,
    curve,
    decisions,
    exact_interval,
    flagged_share,
    group_weights,
    overall,
    percentile_interval,
    ranking,
    ranking_quality,
    score,
)

FOUR = scored([photo(REAL, group=g) for g in "12"] + [photo(AI, group=g) for g in "34"], [0.1, 0.4, 0.35, 0.8])


def ones(predicted: Scored) -> Floats:
    return np.ones((1, len(predicted.photos)))


def bounds(predicted: Scored, samples: int = 200) -> list[float]:
    return cast("list[float]", ranking_quality(predicted, samples)["auroc_ci95"])


def with_ties() -> Scored:
    predicted = overlapping(60)
    return Scored(predicted.photos, predicted.probabilities.round(1))


def test_the_overall_figures_of_four_photos() -> None:
    found = overall(FOUR, samples=50)
    assert {name: value for name, value in found.items() if not name.endswith("ci95")} == {
        "n_real": 2,
        "n_ai_generated": 2,
        "auroc": 0.75,
        "average_precision": pytest.approx(0.5 * 1 + 0.5 * 2 / 3),
        "tpr_at_1pct_false_alarms": 0.5,
        "tpr_at_5pct_false_alarms": 0.5,
        "accuracy": 0.75,
        "precision": 1.0,
        "f1": pytest.approx(2 / 3),
        "balanced_accuracy": 0.75,
        "expected_calibration_error": pytest.approx((0.1 + 0.4 + 0.65 + 0.2) / 4),
        "expected_calibration_error_by_chance": calibration_error_by_chance(FOUR, 50),
        "true_positive_rate": 0.5,
        "false_positive_rate": 0.0,
    }


def test_every_figure_but_counts_has_an_interval_around_it() -> None:
    found = overall(overlapping(40), samples=200)
    names = {name for name in found if not name.startswith("n_") and not name.endswith(("ci95", "by_chance"))}
    assert {name.removesuffix("_ci95") for name in found if name.endswith("ci95")} == names
    for name in names - {"expected_calibration_error"}:  # noise adds to this one, so its interval lies above it
        low, high = cast("list[float]", found[f"{name}_ci95"])
        assert low <= cast("float", found[name]) <= high, name


@pytest.mark.parametrize("predicted", [overlapping(60), with_ties()], ids=["distinct", "ties"])
def test_ranking_figures_are_scikit_learns(predicted: Scored) -> None:
    found = ranking(predicted, ones(predicted))
    assert found["auroc"][0] == pytest.approx(metrics.roc_auc_score(predicted.generated, predicted.probabilities))
    expected = metrics.average_precision_score(predicted.generated, predicted.probabilities)
    assert found["average_precision"][0] == pytest.approx(expected)
    fpr, tpr, _ = metrics.roc_curve(predicted.generated, predicted.probabilities, drop_intermediate=False)
    assert found["tpr_at_5pct_false_alarms"][0] == tpr[fpr <= 0.05].max()
    assert found["tpr_at_1pct_false_alarms"][0] == tpr[fpr <= 0.01].max()
    ours = [values[0] for values in curve(predicted, ones(predicted))]
    assert ours[0] == pytest.approx(fpr)
    assert ours[1] == pytest.approx(tpr)


def test_figures_of_resamples_are_those_of_the_photos_drawn() -> None:
    predicted = with_ties()
    weights = group_weights(predicted.photos, 5)
    everything = ranking(predicted, weights) | decisions(predicted, weights)
    for number, weight in enumerate(weights.astype(int)):
        truth, scores, flagged = (
            np.repeat(values, weight) for values in (predicted.generated, predicted.probabilities, predicted.flagged)
        )
        assert everything["auroc"][number] == pytest.approx(metrics.roc_auc_score(truth, scores))
        assert everything["average_precision"][number] == pytest.approx(metrics.average_precision_score(truth, scores))
        assert everything["accuracy"][number] == pytest.approx(metrics.accuracy_score(truth, flagged))
        assert everything["precision"][number] == pytest.approx(metrics.precision_score(truth, flagged))
        assert everything["f1"][number] == pytest.approx(metrics.f1_score(truth, flagged))
        assert everything["balanced_accuracy"][number] == pytest.approx(metrics.balanced_accuracy_score(truth, flagged))


def test_the_calibration_error_is_torchmetrics() -> None:
    predicted = overlapping(100)
    labels = torch.from_numpy(predicted.generated.astype(np.int64))
    expected = binary_calibration_error(torch.from_numpy(predicted.probabilities), labels, n_bins=10)
    assert calibration_error(predicted, ones(predicted))[0] == pytest.approx(float(expected))


def test_the_calibration_error_is_that_for_equally_many_of_both_classes() -> None:
    """Of 0.8 for a base rate of 0.8 is 0.5 for equal shares, which is right, however many photos a class has."""
    predicted = scored([photo(REAL)] * 30 + [photo(AI)] * 2, [0.8] * 32, base_rate=0.8)
    assert calibration_error(predicted, ones(predicted))[0] == pytest.approx(0)
    assert calibration_error(scored(predicted.photos, [0.8] * 32), ones(predicted))[0] == pytest.approx(0.3)


def test_the_error_by_chance_is_that_of_a_perfect_model_on_so_few_photos() -> None:
    """Of n photos in one bin it is the mean distance of a share from its expectation, sqrt(2 p (1 - p) / (pi n))."""
    predicted = scored([photo(REAL), photo(AI)] * 200, [0.55] * 400)
    assert calibration_error_by_chance(predicted, 4000) == pytest.approx(
        math.sqrt(2 * 0.55 * 0.45 / (math.pi * 400)), rel=0.05
    )


def test_certain_verdicts_that_are_right_have_no_error() -> None:
    predicted = scored([photo(REAL), photo(AI)], [0.0, 1.0])  # the ends of the scale, which have a bin
    assert calibration_error_by_chance(predicted, 10) == calibration_error(predicted, ones(predicted))[0] == 0


def test_a_detector_that_flags_nothing_has_no_precision() -> None:
    predicted = scored(FOUR.photos, [0.1, 0.4, 0.35, 0.49])
    found = decisions(predicted, ones(predicted))
    assert {name: float(value[0]) for name, value in found.items()} == {
        "accuracy": 0.5,
        "precision": 0.0,
        "f1": 0.0,
        "balanced_accuracy": 0.5,
    }


def test_an_interval_covers_the_figure_and_narrows_with_more_groups() -> None:
    widths = []
    for groups in (10, 200):
        predicted = overlapping(groups)
        low, high = bounds(predicted)
        assert low < cast("float", ranking_quality(predicted, 1)["auroc"]) < high
        widths.append(high - low)
    assert widths[1] < 0.5 * widths[0]


def test_copies_within_a_group_do_not_narrow_an_interval() -> None:
    assert bounds(overlapping(20, 5)) == pytest.approx(bounds(overlapping(20)))


def test_one_group_a_class_leaves_nothing_to_resample() -> None:
    photos = [photo(REAL, group="1")] * 2 + [photo(AI, group="2")] * 2
    assert bounds(scored(photos, FOUR.probabilities.tolist())) == [0.75, 0.75]


def test_a_share_of_some_is_bootstrapped_and_one_of_none_has_an_exact_interval_with_one_draw_a_group() -> None:
    photos = [photo(REAL, group=str(index)) for index in range(100)]
    found = flagged_share(scored(photos, [0.9] * 10 + [0.1] * 90), 1000)
    assert found["flagged"] == 0.1
    assert found["flagged_ci95"] == pytest.approx([0.05, 0.16], abs=0.011)
    pairs = [photo(REAL, group=str(index // 2)) for index in range(20)]
    found = flagged_share(scored(pairs, [0.1] * 20), 100)
    assert found == {"n": 20, "flagged": 0.0, "flagged_ci95": [0.0, pytest.approx(1 - 0.025 ** (1 / 10))]}


def test_each_source_is_held_against_the_whole_other_class() -> None:
    photos = [photo(REAL, "shop"), photo(REAL, "phone"), photo(AI, "sd"), photo(AI, "shop")]
    found = breakdown(scored(photos, [0.1, 0.5, 0.35, 0.8]), 10, lambda one: one.source)
    assert {name: (row["n"], row["auroc"], row["flagged"]) for name, row in found.items()} == {
        "ai_generated/sd": (1, 0.5, 0.0),
        "ai_generated/shop": (1, 1.0, 1.0),
        "real/phone": (1, 0.5, 1.0),
        "real/shop": (1, 1.0, 0.0),
    }


def test_what_is_too_small_has_no_row() -> None:
    photos = [photo(REAL), *[photo(AI, generator="sd")] * 3, *[photo(AI, generator="gan")] * 2]
    found = breakdown(scored(photos, [0.1] * 6), 10, lambda one: one.generator, at_least=3)
    assert list(found) == ["ai_generated/sd"]


def test_without_the_other_class_a_row_has_no_ranking() -> None:
    (row,) = breakdown(scored([photo(REAL)] * 3, [0.1, 0.2, 0.9]), 10, lambda one: one.source).values()
    assert set(row) == {"n", "flagged", "flagged_ci95"}


def test_each_class_is_resampled_by_itself_with_images_of_a_group_drawn_together() -> None:
    weights = group_weights([photo(REAL, group="x"), photo(AI), photo(REAL, group="y"), photo(REAL, group="x")], 50)
    assert weights.shape == (50, 4)
    assert np.array_equal(weights[:, 0], weights[:, 3])
    assert not np.array_equal(weights[:, 0], weights[:, 2])
    assert (weights[:, 0] + weights[:, 2]).tolist() == [2] * 50
    assert weights[:, 1].tolist() == [1] * 50
    mixed = group_weights([photo(label, group=group) for label in (REAL, AI) for group in "ab"], 50)
    assert not np.array_equal(mixed[:, :2], mixed[:, 2:])


def test_an_interval_leaves_out_a_fortieth_at_each_end() -> None:
    assert percentile_interval(np.arange(1001.0)) == pytest.approx([25, 975])


@pytest.mark.parametrize(
    ("share", "n", "expected"),
    [(0, 10, [0, 0.3085]), (1, 10, [0.6915, 1]), (0.5, 10, [0.1871, 0.8129]), (0, 1, [0, 0.975])],
)
def test_exact_intervals_are_clopper_and_pearsons(share: float, n: int, expected: list[float]) -> None:
    assert exact_interval(share, n) == pytest.approx(expected, abs=1e-4)


SPEC = ModelSpec(version="1.0.0", temperature=2.0)


def test_a_verdict_follows_from_the_rounded_probability_that_is_served() -> None:
    """0.49996 is served as 0.5."""
    logits = torch.tensor([2 * math.log(p / (1 - p)) for p in (0.49996, 0.49994)])
    assert score([photo(REAL)] * 2, logits, SPEC).flagged.tolist() == [True, False]


@settings(deadline=None)
@given(st.floats(-40, 40), st.floats(0.0001, 0.9999))
def test_photos_are_scored_and_flagged_as_serving_does(logit: float, base_rate: float) -> None:
    spec = dataclasses.replace(SPEC, base_rate=base_rate)
    verdict = decide(logit, spec)
    predicted = score([photo(REAL)], torch.tensor([logit], dtype=torch.float64), spec)
    assert predicted.probabilities[0] == pytest.approx(verdict.probability, abs=5.1e-5)
    assume(abs(predicted.probabilities[0] - 0.49995) > 1e-9)  # where the last bit decides how it is rounded
    assert predicted.flagged.tolist() == [verdict.prediction == "ai_generated"]


def test_balanced_probabilities_are_those_without_the_base_rate() -> None:
    logits = torch.tensor([-3.0, 0.2, 5.0])
    rare = score([photo(REAL)] * 3, logits, dataclasses.replace(SPEC, base_rate=0.1))
    assert rare.balanced == pytest.approx(score([photo(REAL)] * 3, logits, SPEC).probabilities)
    assert rare.that(lambda _: True).balanced == pytest.approx(rare.balanced)
