import dataclasses
import json
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.spec import ModelSpec
from tests.training.conftest import Tiny
from tests.training.pictures import AI, REAL, photo, scored
from training.evaluation import goals as gate
from training.evaluation.figures import score
from training.evaluation.goals import Goal, by_source, goals, operating_points, rates_at
from training.files import Paths, StageError, write_json


def metrics(auroc: float, alarms: float, error: float, jpeg: float) -> dict[str, Any]:
    return {
        "splits": {
            "test": {
                "unseen_sources": {"auroc": auroc, "expected_calibration_error": error},
                "product_photos": {"unseen_sources": {"n": 80, "false_positive_rate": alarms}, "all_sources": None},
            }
        },
        "robustness": {"test": {"clean": {"auroc": auroc}, "jpeg70": {"auroc": jpeg}}},
    }


def leak(auc: float) -> dict[str, Any]:
    return {"across_sources": {"auc": auc, "distance": abs(auc - 0.5)}}


def reached(found: list[Goal]) -> list[bool | None]:
    return [goal.met for goal in found]


def test_good_figures_meet_every_goal() -> None:
    leaks = {"metadata_after_pipeline": leak(0.45), "statistics_after_pipeline": leak(0.6)}
    found = goals(metrics(0.9, 0.05, 0.05, 0.88), {"leaks": leaks})
    assert reached(found) == [True, True, True, None, True, True, True, True]
    assert found[2].reached == "5.0% of 80"


def test_bad_figures_meet_none() -> None:
    leaks = {"metadata_after_pipeline": leak(0.56), "statistics_after_pipeline": leak(0.61)}
    found = goals(metrics(0.79, 0.06, 0.06, 0.75), {"leaks": leaks})
    assert reached(found) == [False, False, False, None, False, False, False, False]
    between = goals(metrics(0.85, 0, 0, 0.9), None)  # useful, less than the goal, and better under JPEG
    assert [reached(between)[place] for place in (0, 1, 5)] == [True, False, True]


@pytest.mark.parametrize("validation", [None, {}, {"leaks": {"metadata_after_pipeline": {"across_sources": None}}}])
def test_leaks_that_were_not_measured_are_said_to_be(validation: dict[str, Any] | None) -> None:
    assert reached(goals(metrics(0.9, 0, 0, 0.9), validation))[-2:] == [None, None]


def evaluation(
    auroc: float = 0.9, worst: float = 0.8, alarms: float | None = 0.04, error: float = 0.03
) -> dict[str, Any]:
    products = None if alarms is None else {"n": 100, "false_positive_rate": alarms}
    return {
        "splits": {
            "dev": {
                "unseen_sources": {"auroc": auroc, "expected_calibration_error": error},
                "product_photos": {"unseen_sources": products},
            }
        },
        "robustness": {"dev": {"worst": {"condition": "jpeg50", "auroc": worst}}},
    }


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(reports=tmp_path)


def test_without_a_baseline_everything_passes(tiny: Tiny, paths: Paths) -> None:
    write_json(paths.metrics, evaluation())
    assert gate.run(tiny(), paths).startswith(f"no baseline at {paths.baseline}: create one with")


def test_without_an_evaluation_there_is_nothing_to_predict(tiny: Tiny, paths: Paths) -> None:
    with pytest.raises(StageError, match=r"metrics\.json: run `python -m training\.evaluate` first"):
        gate.run(tiny(), paths)


@pytest.mark.parametrize(
    "now",
    [
        evaluation(),
        evaluation(auroc=0.99, worst=0.99, alarms=0.0, error=0.0),
        evaluation(auroc=0.885, worst=0.785, alarms=0.055, error=0.045),
    ],
    ids=["same", "better", "hardly worse"],
)
def test_what_is_not_clearly_worse_passes(now: dict[str, Any], tiny: Tiny, paths: Paths) -> None:
    write_json(paths.baseline, evaluation())
    write_json(paths.metrics, now)
    assert gate.run(tiny("evaluate.max_regression=0.02"), paths).startswith("no watched figure is worse than ")


@pytest.mark.parametrize(
    ("now", "regressed"),
    [
        (evaluation(auroc=0.87), "AUROC on unseen sources of dev was 0.9000 and is 0.8700"),
        (evaluation(worst=0.7), "AUROC of the worst robustness tier on dev was 0.8000 and is 0.7000"),
        (evaluation(alarms=0.07), "false alarms on real product photos of dev was 0.0400 and is 0.0700"),
        (evaluation(error=0.06), "calibration error on unseen sources of dev was 0.0300 and is 0.0600"),
        (evaluation(alarms=None), "false alarms on real product photos of dev was 0.0400 and is no longer measured"),
    ],
)
def test_a_regression_is_named_with_both_values(now: dict[str, Any], regressed: str, tiny: Tiny, paths: Paths) -> None:
    write_json(paths.baseline, evaluation())
    write_json(paths.metrics, now)
    with pytest.raises(StageError) as raised:
        gate.run(tiny("evaluate.max_regression=0.02"), paths)
    assert str(raised.value) == (
        f"worse than {paths.baseline} by more than 0.02: {regressed}. "
        "To accept it, run python -m training.evaluation.goals --accept"
    )


def test_a_figure_that_the_baseline_lacks_is_not_compared() -> None:
    assert gate.regressions(evaluation(alarms=0.5), evaluation(alarms=None), 0.02) == []


def test_accepting_makes_the_evaluation_the_baseline(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(paths.baseline, evaluation())
    write_json(paths.metrics, evaluation(auroc=0.5))
    monkeypatch.setattr(sys, "argv", ["gate", "--reports", str(paths.reports), "--accept"])
    runpy.run_path(gate.__file__, run_name="__main__")
    assert json.loads(paths.baseline.read_text(encoding="utf-8")) == evaluation(auroc=0.5)
    assert capsys.readouterr().out.startswith("no watched figure is worse")


def test_the_command_fails_in_one_line(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(paths.baseline, evaluation())
    write_json(paths.metrics, evaluation(auroc=0.5))
    monkeypatch.setattr(sys, "argv", ["gate", "--reports", str(paths.reports)])
    with pytest.raises(SystemExit) as stopped:
        gate.main()
    assert str(stopped.value.code).startswith(f"gate: worse than {paths.baseline} by more than 0.02: AUROC on unseen")


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
