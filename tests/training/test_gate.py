from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import Tiny
from training.evaluation import goals
from training.files import MissingReportError, Paths, write_json


def metrics(auroc: float = 0.9, worst: float = 0.8, alarms: float | None = 0.04, error: float = 0.03) -> dict[str, Any]:
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
    write_json(paths.metrics, metrics())
    assert goals.run(tiny(), paths).startswith(f"no baseline at {paths.baseline}: create one with")


def test_without_an_evaluation_there_is_nothing_to_judge(tiny: Tiny, paths: Paths) -> None:
    with pytest.raises(MissingReportError, match=r"metrics\.json: run `python -m training\.evaluate` first"):
        goals.run(tiny(), paths)


@pytest.mark.parametrize(
    "now",
    [
        metrics(),
        metrics(auroc=0.99, worst=0.99, alarms=0.0, error=0.0),
        metrics(auroc=0.885, worst=0.785, alarms=0.055, error=0.045),
    ],
    ids=["same", "better", "hardly worse"],
)
def test_what_is_not_clearly_worse_passes(now: dict[str, Any], tiny: Tiny, paths: Paths) -> None:
    write_json(paths.baseline, metrics())
    write_json(paths.metrics, now)
    assert goals.run(tiny("evaluate.max_regression=0.02"), paths).startswith("no watched figure is worse than ")


@pytest.mark.parametrize(
    ("now", "regressed"),
    [
        (metrics(auroc=0.87), "AUROC on unseen sources of dev was 0.9000 and is 0.8700"),
        (metrics(worst=0.7), "AUROC of the worst robustness tier on dev was 0.8000 and is 0.7000"),
        (metrics(alarms=0.07), "false alarms on real product photos of dev was 0.0400 and is 0.0700"),
        (metrics(error=0.06), "calibration error on unseen sources of dev was 0.0300 and is 0.0600"),
        (metrics(alarms=None), "false alarms on real product photos of dev was 0.0400 and is no longer measured"),
    ],
)
def test_a_regression_is_named_with_both_values(now: dict[str, Any], regressed: str, tiny: Tiny, paths: Paths) -> None:
    write_json(paths.baseline, metrics())
    write_json(paths.metrics, now)
    with pytest.raises(goals.RegressionError) as raised:
        goals.run(tiny("evaluate.max_regression=0.02"), paths)
    assert str(raised.value) == (
        f"worse than {paths.baseline} by more than 0.02: {regressed}. "
        "To accept it, run python -m training.evaluation.goals --accept"
    )


def test_every_regression_is_listed_at_once(tiny: Tiny, paths: Paths) -> None:
    write_json(paths.baseline, metrics())
    write_json(paths.metrics, metrics(0.5, 0.5, 0.5, 0.5))
    with pytest.raises(goals.RegressionError, match=r"0\.9000 .*; .*0\.8000 .*; .*0\.0400 .*; .*0\.0300 "):
        goals.run(tiny(), paths)


def test_a_figure_that_the_baseline_lacks_is_not_compared() -> None:
    assert goals.regressions(metrics(alarms=0.5), metrics(alarms=None), 0.02) == []


def test_accepting_makes_the_evaluation_the_baseline(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(paths.baseline, metrics())
    write_json(paths.metrics, metrics(auroc=0.5))
    monkeypatch.setattr(sys, "argv", ["gate", "--reports", str(paths.reports), "--accept"])
    goals.main()
    assert json.loads(paths.baseline.read_text(encoding="utf-8")) == metrics(auroc=0.5)
    assert capsys.readouterr().out.startswith("no watched figure is worse")


def test_the_command_fails_in_one_line(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(paths.baseline, metrics())
    write_json(paths.metrics, metrics(auroc=0.5))
    monkeypatch.setattr(sys, "argv", ["gate", "--reports", str(paths.reports)])
    with pytest.raises(SystemExit) as stopped:
        goals.main()
    assert str(stopped.value.code).startswith(f"gate: worse than {paths.baseline} by more than 0.02: AUROC on unseen")
