"""What the detector is meant to reach, held against what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AUROC_GOAL, AUROC_USEFUL = 0.90, 0.80
MAX_PRODUCT_FALSE_ALARMS = 0.05
MAX_CALIBRATION_ERROR = 0.05
MAX_JPEG_LOSS = 0.03
MAX_METADATA_DISTANCE = 0.05
MAX_STATISTICS_AUC = 0.60


@dataclass(frozen=True)
class Goal:
    """A bar, the figure held against it, and whether it is cleared; `met` is None where nothing was measured."""

    name: str
    bar: str
    reached: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """Whether the bar is cleared, in words."""
        return "not measured" if self.met is None else "met" if self.met else "**not met**"


def goals(metrics: Mapping[str, Any], validation: Mapping[str, Any] | None) -> list[Goal]:
    """Return every goal, from `metrics.json` and, where it was run, `data_validation.json`."""
    judged_on = headline_split(metrics)
    split = metrics["splits"][judged_on]
    figures = split["unseen_sources"] or {}
    clean, jpeg70 = (metrics["robustness"][judged_on][name]["auroc"] for name in ("clean", "jpeg70"))
    return [
        _at_least(f"AUROC on unseen sources of {judged_on}, to be useful", figures.get("auroc"), AUROC_USEFUL),
        _at_least(f"AUROC on unseen sources of {judged_on}, the goal", figures.get("auroc"), AUROC_GOAL),
        *(_product_goal(judged_on, which, part) for which, part in split["product_photos"].items()),
        _at_most(
            f"expected calibration error on unseen sources of {judged_on}",
            figures.get("expected_calibration_error"),
            MAX_CALIBRATION_ERROR,
        ),
        _at_most(f"AUROC lost on {judged_on} under JPEG 70", clean - jpeg70, MAX_JPEG_LOSS),
        *_leak_goals(validation),
    ]


def headline_split(metrics: Mapping[str, Any]) -> str:
    """Return the split for headline figures: test if it was read, else dev."""
    return "test" if "test" in metrics["splits"] else "dev"


def leak_report(validation: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the leak report of `data_validation.json`, where it was run."""
    found: Mapping[str, Any] | None = (validation or {}).get("leaks")
    return found


def _product_goal(judged_on: str, which: str, part: Mapping[str, Any] | None) -> Goal:
    name = f"false alarms on real product photos of {judged_on}, {which.replace('_', ' ')}"
    share = part["false_positive_rate"] if part else None
    reached = f"{share:.1%} of {part['n']}" if part else "-"
    return Goal(name, f"at most {MAX_PRODUCT_FALSE_ALARMS:.0%}", reached, _met(share, MAX_PRODUCT_FALSE_ALARMS))


def _leak_goals(validation: Mapping[str, Any] | None) -> list[Goal]:
    leaks = leak_report(validation) or {}
    metadata = _leak(leaks, "metadata_after_pipeline", "distance")
    statistics = _leak(leaks, "statistics_after_pipeline", "auc")
    return [
        _at_most(
            "leak: distance from chance (0.5) of the AUC by file metadata alone, after the pipeline",
            metadata,
            MAX_METADATA_DISTANCE,
        ),
        _at_most("leak: AUC by trivial statistics alone, after the pipeline", statistics, MAX_STATISTICS_AUC),
    ]


def _leak(leaks: Mapping[str, Any], name: str, figure: str) -> float | None:
    found = (leaks.get(name) or {}).get("across_sources")
    return None if found is None else float(found[figure])


def _at_least(name: str, value: float | None, bar: float) -> Goal:
    met = None if value is None else value >= bar
    return Goal(name, f"at least {bar:.2f}", _text(value), met)


def _at_most(name: str, value: float | None, bar: float) -> Goal:
    return Goal(name, f"at most {bar:.2f}", _text(value), _met(value, bar))


def _met(value: float | None, bar: float) -> bool | None:
    return None if value is None else value <= bar


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
