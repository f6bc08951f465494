"""Plots of figures with their intervals, PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.metrics.scored import Floats
from training.reports.plots import GENERATED, NEUTRAL, REAL, SERIES, canvas

AXES = {"auroc": "AUROC", "flagged": "share called AI-generated"}
Rows = Sequence[tuple[str, Mapping[str, Any]]]
"""Names with figures that hold `auroc` and `auroc_ci95`, or `flagged` and `flagged_ci95`."""


def robustness_bars(matrices: Mapping[str, Mapping[str, Mapping[str, Any]]], file: Path) -> None:
    """Draw each condition's AUROC, a bar a split; `matrices` are figures by split and condition."""
    conditions = list(next(iter(matrices.values())))
    height = 0.8 / len(matrices)
    with canvas(file, "Robustness: AUROC under what the web does to pictures", (7.2, 5.2)) as axes:
        for index, (colour, (split, matrix)) in enumerate(zip(SERIES, matrices.items(), strict=False)):
            places = np.arange(len(conditions)) + (index - (len(matrices) - 1) / 2) * height
            values = [matrix[condition]["auroc"] for condition in conditions]
            spread = _spread([matrix[condition] for condition in conditions], "auroc")
            axes.barh(
                places,
                values,
                height * 0.9,
                xerr=spread,
                color=colour,
                alpha=0.8,
                label=split,
                error_kw={"linewidth": 1},
            )
            axes.axvline(values[0], color=colour, linestyle=":", linewidth=1)
        axes.set_yticks(range(len(conditions)), conditions)
        axes.invert_yaxis()
        low = min(figures["auroc_ci95"][0] for matrix in matrices.values() for figures in matrix.values())
        axes.set_xlim(min(0.5, max(0.0, low - 0.02)), 1)
        axes.set_xlabel("AUROC with 95 % interval; dotted: clean")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=len(matrices))


def auroc_dots(rows: Rows, title: str, file: Path) -> None:
    """Draw an AUROC with its interval a line; lines whose name starts with `real/` have the real photos' colour."""
    _dots([row for row in rows if "auroc" in row[1]], "auroc", title, file)


def flagged_dots(rows: Rows, title: str, file: Path) -> None:
    """Draw the share flagged with its interval a line: false alarms for `real/`, found for the others."""
    _dots(rows, "flagged", title, file)


def _dots(rows: Rows, key: str, title: str, file: Path) -> None:
    if not rows:
        return
    with canvas(file, title, (7.2, 1.4 + 0.28 * len(rows))) as axes:
        for place, (name, figures) in enumerate(rows):
            colour = REAL if name.partition(": ")[2].startswith("real/") else GENERATED
            axes.errorbar(figures[key], place, xerr=_spread([figures], key), fmt="o", color=colour, capsize=2)
        axes.set_yticks(range(len(rows)), [f"{name} ({figures['n']})" for name, figures in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        if key == "auroc":
            axes.axvline(0.5, color=NEUTRAL, linestyle=":")  # chance
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel(f"{AXES[key]}, with 95 % interval\nblue: real, orange: AI-generated; in brackets: photos")


def _spread(rows: Sequence[Mapping[str, Any]], key: str) -> Floats:
    """Return how far each interval reaches below and above its figure, shape (2, N)."""
    values = np.array([row[key] for row in rows])
    bounds = np.array([row[f"{key}_ci95"] for row in rows])
    return np.stack([np.maximum(values - bounds[:, 0], 0), np.maximum(bounds[:, 1] - values, 0)])
