from __future__ import annotations

from typing import Any

import pytest

from training.evaluation.goals import Goal, goals


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
    assert found[3].verdict == "not measured"


def test_bad_figures_meet_none() -> None:
    leaks = {"metadata_after_pipeline": leak(0.56), "statistics_after_pipeline": leak(0.61)}
    found = goals(metrics(0.79, 0.06, 0.06, 0.75), {"leaks": leaks})
    assert reached(found) == [False, False, False, None, False, False, False, False]
    assert found[0].verdict == "**not met**"


def test_useful_is_less_than_the_goal() -> None:
    assert reached(goals(metrics(0.85, 0, 0, 0.85), None))[:2] == [True, False]


@pytest.mark.parametrize("validation", [None, {}, {"leaks": {"metadata_after_pipeline": {"across_sources": None}}}])
def test_leaks_that_were_not_measured_are_said_to_be(validation: dict[str, Any] | None) -> None:
    assert reached(goals(metrics(0.9, 0, 0, 0.9), validation))[-2:] == [None, None]


def test_compression_that_helps_costs_nothing() -> None:
    assert reached(goals(metrics(0.8, 0, 0, 0.9), None))[5] is True
