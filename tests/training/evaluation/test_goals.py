from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import Tiny
from training.evaluation import goals as gate
from training.evaluation.goals import Goal, goals
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
    assert found[3].verdict == "not measured"


def test_bad_figures_meet_none() -> None:
    leaks = {"metadata_after_pipeline": leak(0.56), "statistics_after_pipeline": leak(0.61)}
    found = goals(metrics(0.79, 0.06, 0.06, 0.75), {"leaks": leaks})
    assert reached(found) == [False, False, False, None, False, False, False, False]
    assert found[0].verdict == "**not met**"
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
