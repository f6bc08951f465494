"""The gate: no version ships that is clearly worse than the one before; `--accept` makes this one the measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.atomic import write_bytes
from training.command_line import parse_command_line
from training.params import Params
from training.paths import Paths
from training.reports.files import MissingReportError, read_json, read_optional_json


@dataclass(frozen=True)
class Watched:
    """A figure of `metrics.json` that must not get worse."""

    name: str
    path: str
    higher_is_better: bool

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """Return the figure, or nothing where it was not measured."""
        found: Any = metrics
        for key in self.path.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return None if found is None else float(found)

    def loss(self, before: float, now: float) -> float:
        """Return by how much the figure has got worse."""
        return before - now if self.higher_is_better else now - before


WATCHED = (
    Watched("AUROC on unseen sources of dev", "splits.dev.unseen_sources.auroc", higher_is_better=True),
    Watched("AUROC of the worst robustness tier on dev", "robustness.dev.worst.auroc", higher_is_better=True),
    Watched(
        "false alarms on real product photos of dev",
        "splits.dev.product_photos.unseen_sources.false_positive_rate",
        higher_is_better=False,
    ),
    Watched(
        "calibration error on unseen sources of dev",
        "splits.dev.unseen_sources.expected_calibration_error",
        higher_is_better=False,
    ),
)
"""None is of test: what chooses versions says nothing of how good the chosen one is."""


class RegressionError(RuntimeError):
    """Figures that fell behind the baseline's; the message lists each with both values."""


def run(params: Params, paths: Paths) -> str:
    """Compare the evaluation with the baseline and return the outcome.

    Raises:
        RegressionError: A watched figure is worse by more than `evaluate.max_regression`, or is no longer measured.
        MissingReportError: There is no evaluation.
    """
    baseline = read_optional_json(paths.baseline)
    metrics = read_json(paths.metrics, "evaluate")
    if baseline is None:
        return f"no baseline at {paths.baseline}: create one with `python -m training.gate --accept`"
    regressed = regressions(metrics, baseline, params.evaluate.max_regression)
    if regressed:
        raise RegressionError(
            f"worse than {paths.baseline} by more than {params.evaluate.max_regression:g}: {'; '.join(regressed)}. "
            "To accept it, run python -m training.gate --accept"
        )
    return f"no watched figure is worse than {paths.baseline}'s by more than {params.evaluate.max_regression:g}"


def regressions(metrics: Mapping[str, Any], baseline: Mapping[str, Any], allowed: float) -> list[str]:
    """Describe each watched figure that got worse by more than what is allowed."""
    described = []
    for figure in WATCHED:
        before, now = figure.value(baseline), figure.value(metrics)
        if before is None:
            continue
        if now is None:
            described.append(f"{figure.name} was {before:.4f} and is no longer measured")
        elif figure.loss(before, now) > allowed:
            described.append(f"{figure.name} was {before:.4f} and is {now:.4f}")
    return described


def accept(paths: Paths) -> None:
    """Make the evaluation the baseline of the next ones."""
    read_json(paths.metrics, "evaluate")
    write_bytes(paths.baseline, paths.metrics.read_bytes())


def main() -> None:
    """Run from the command line."""
    params, paths, arguments = parse_command_line("gate")
    try:
        if arguments.accept:
            accept(paths)
        print(run(params, paths))
    except (MissingReportError, RegressionError) as error:
        raise SystemExit(f"gate: {error}") from error


if __name__ == "__main__":
    main()
