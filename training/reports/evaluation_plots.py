"""All that `evaluate` draws, and the curves that `dvc plots` draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.data import LABELS
from training.metrics.figures import curve
from training.metrics.robustness import Matrix
from training.metrics.scored import Scored
from training.reports import plots
from training.reports.files import write_csv
from training.reports.interval_plots import auroc_dots, flagged_dots, robustness_bars

TITLES = {"by_source": "By source", "by_generator": "By generator"}


def draw_scores(splits: Mapping[str, Scored], folder: Path) -> None:
    """Draw what follows from the scores of each split."""
    plots.roc(splits, folder / "roc.png")
    plots.precision_recall(splits, folder / "precision_recall.png")
    plots.reliability(splits, folder / "reliability.png")
    for name, scored in splits.items():
        plots.confusion(name, scored, folder / f"confusion_{name}.png")
        plots.score_histogram(name, scored, folder / f"scores_{name}.png")


def draw_tables(tables: Mapping[str, Mapping[str, Any]], matrices: Mapping[str, Matrix], folder: Path) -> None:
    """Draw the figures by source and by generator, and the robustness matrix."""
    robustness_bars(matrices, folder / "robustness.png")
    for table, title in TITLES.items():
        rows = [(f"{split}: {name}", row) for split, found in tables.items() for name, row in found[table].items()]
        auroc_dots(rows, f"{title}: ranking against the whole other class", folder / f"{table}_auroc.png")
        flagged_dots(rows, f"{title}: share called AI-generated", folder / f"{table}_flagged.png")


def write_curves(splits: Mapping[str, Scored], folder: Path) -> None:
    """Write each split's ROC and precision-recall curve, and its verdicts beside the truth, as CSV."""
    for name, scored in splits.items():
        fpr, tpr, precision = (values[0].round(6) for values in curve(scored, np.ones((1, len(scored.photos)))))
        verdicts = zip(scored.generated.astype(int), scored.flagged.astype(int), strict=True)
        write_csv(folder / name / "roc.csv", ("fpr", "tpr"), zip(fpr, tpr, strict=True))
        write_csv(folder / name / "pr.csv", ("recall", "precision"), zip(tpr, precision, strict=True))
        write_csv(
            folder / name / "confusion.csv",
            ("actual", "predicted"),
            ((LABELS[actual], LABELS[predicted]) for actual, predicted in verdicts),
        )
