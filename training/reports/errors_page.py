"""The page of an evaluation: headline, goals, plots, robustness, and the worst errors with their heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from handler import heads
from handler.detector import Detector
from handler.torch_engine import TorchEngine
from training.metrics.goals import goals
from training.metrics.robustness import DESCRIPTIONS
from training.metrics.scored import Scored
from training.params import Params
from training.paths import Paths
from training.reports import pages
from training.reports.files import read_json, read_optional_json, read_spec
from training.reports.worst_errors import WORST, Mistake, explain, false_alarms, misses

PLOTS = {
    "evaluate/roc": "ROC",
    "evaluate/precision_recall": "Precision and recall",
    "evaluate/reliability": "Reliability",
    "calibrate/reliability": "Reliability on dev, before and after calibration",
    "evaluate/scores_dev": "Scores on dev",
    "evaluate/scores_test": "Scores on test",
    "evaluate/confusion_dev": "Verdicts on dev",
    "evaluate/confusion_test": "Verdicts on test",
    "evaluate/robustness": "Robustness",
    "evaluate/by_source_auroc": "Ranking by source",
    "evaluate/by_source_flagged": "Flagged by source",
    "evaluate/by_generator_auroc": "Ranking by generator",
    "evaluate/by_generator_flagged": "Flagged by generator",
    "crossvalidate/sources": "Sources left out of training",
}


@dataclass(frozen=True)
class Grid:
    """Errors of one kind in one split."""

    title: str
    errors: int
    total: int
    worst: list[Mistake]


def write(params: Params, paths: Paths, splits: Mapping[str, Scored]) -> None:
    """Write the page, self-contained, from the reports and plots beside it and from each split's verdicts."""
    metrics = read_json(paths.metrics, "evaluate")
    pages.write(
        paths.evaluation_page,
        metrics=metrics,
        calibration=read_json(paths.calibration, "calibrate"),
        goals=goals(metrics, read_optional_json(paths.data_validation)),
        conditions=DESCRIPTIONS,
        plots=_plots(paths),
        grids=_grids(params, paths, splits),
        worst=WORST,
    )


def _plots(paths: Paths) -> list[dict[str, str]]:
    files = ((title, paths.figures / f"{name}.png") for name, title in PLOTS.items())
    return [
        {"title": title, "uri": pages.data_uri(file.read_bytes(), "png")} for title, file in files if file.is_file()
    ]


def _grids(params: Params, paths: Paths, splits: Mapping[str, Scored]) -> list[Grid]:
    spec = read_spec(paths)
    engine = TorchEngine.load(paths.weights, spec, torch.device("cpu"))
    detector = Detector(spec, engine, heads.load(paths.weights, spec))
    grids = []
    for name, scored in splits.items():
        for kind, wrong, total in (
            ("false alarms", false_alarms(scored), ~scored.generated),
            ("misses", misses(scored), scored.generated),
        ):
            errors = int((total & (scored.flagged != scored.generated)).sum())
            found = explain(detector, params.data.root, wrong, f"explaining {kind} of {name}")
            grids.append(Grid(f"{name}: {kind}", errors, int(total.sum()), found))
    return grids
