"""Plots of scores, PNG, in one style."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay  # type: ignore[import-untyped]

from training.data.manifest import LABELS
from training.evaluation.figures import FALSE_ALARM_BUDGETS, Floats, Scored, class_weights, curve, in_bins, ranking
from training.evaluation.robustness import Matrix
from training.files import write_bytes, write_csv

REAL, GENERATED, NEUTRAL = "#2b6cb0", "#c2410c", "#64748b"
SERIES = ("#0f766e", "#7c3aed", "#b45309")
STYLE = Path(__file__).with_suffix(".mplstyle")
BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.12)}
"""Keeps a legend off curves, which may run anywhere."""
AXES = {"auroc": "AUROC", "flagged": "share called AI-generated"}
Rows = Sequence[tuple[str, Mapping[str, Any]]]
"""Names with figures that hold `auroc` and `auroc_ci95`, or `flagged` and `flagged_ci95`."""
TITLES = {"by_source": "By source", "by_generator": "By generator"}


@contextmanager
def canvas(file: Path, title: str, size: tuple[float, float] = (5.6, 5.2)) -> Iterator[Axes]:
    """Give an empty plot to draw on, then write it; it needs no display."""
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set_title(title)
        yield axes
        content = io.BytesIO()
        figure.savefig(content, format="png", metadata={"Software": None})
    write_bytes(file, content.getvalue())


def roc(series: Mapping[str, Scored], file: Path) -> None:
    """Draw a ROC curve a series, with marks at 1 and 5 % false alarms."""
    with canvas(file, "ROC: found against false alarms") as axes:
        for colour, (name, scored) in zip(SERIES, series.items(), strict=False):
            fpr, tpr, _, figures = _ranked(scored)
            found = " and ".join(f"{figures[mark]:.0%}" for mark in FALSE_ALARM_BUDGETS)
            axes.plot(fpr, tpr, color=colour, label=f"{name}: AUROC {figures['auroc']:.3f}, found {found}")
            for mark, budget in FALSE_ALARM_BUDGETS.items():
                axes.plot(budget, figures[mark], "o", color=colour, markersize=5)
        axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="chance")
        _unit_square(axes, "false alarms (share of real photos)", "found (share of AI-generated)")
        axes.legend(**BELOW, title="dots, found: at 1 % and 5 % false alarms")


def precision_recall(series: Mapping[str, Scored], file: Path) -> None:
    """Draw a precision-recall curve a series."""
    with canvas(file, "Precision against recall") as axes:
        for colour, (name, scored) in zip(SERIES, series.items(), strict=False):
            _, recall, precision, figures = _ranked(scored)
            label = f"{name}: average precision {figures['average_precision']:.3f}"
            axes.plot(recall, precision, color=colour, label=label)
            axes.axhline(float(scored.generated.mean()), color=colour, linestyle=":", linewidth=1)
        _unit_square(axes, "recall", "precision")
        axes.legend(**BELOW, title="dotted: flagging everything")


def confusion(name: str, scored: Scored, file: Path) -> None:
    """Draw how many images of each class of a split got which verdict."""
    counts = np.array([[np.sum((scored.generated == a) & (scored.flagged == p)) for p in (0, 1)] for a in (0, 1)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    with canvas(file, f"Verdicts on {name}, base rate {scored.base_rate:.4f}", (4.8, 4.2)) as axes:
        axes.grid(visible=False)
        shown = ConfusionMatrixDisplay(shares, display_labels=("real", "AI-generated"))
        shown.plot(ax=axes, cmap="Blues", colorbar=False, im_kw={"vmin": 0, "vmax": 1})
        for cell, text in np.ndenumerate(shown.text_):
            text.set_text(f"{counts[cell]}\n{shares[cell]:.1%}")
        axes.set(xlabel="verdict", ylabel="truth")


def score_histogram(name: str, scored: Scored, file: Path) -> None:
    """Draw the share of each class of a split in 20 bins of the probability."""
    bins = np.linspace(0, 1, 21)
    with canvas(file, f"Scores on {name}", (6.4, 3.8)) as axes:
        for label, generated, colour in (("real", False, REAL), ("AI-generated", True, GENERATED)):
            values = scored.probabilities[scored.generated == generated]
            weights = np.full(len(values), 1 / max(len(values), 1))
            axes.hist(values, bins.tolist(), weights=weights, color=colour, alpha=0.6, label=label)
        axes.axvline(0.5, color="#0f172a", linestyle="--", linewidth=1, label="called AI-generated from here on")
        probability = f"probability of being AI-generated, base rate {scored.base_rate:.4f}"
        axes.set(xlim=(0, 1), xlabel=probability, ylabel="share of the class")
        axes.legend()


def reliability(series: Mapping[str, Scored], file: Path) -> None:
    """Draw, for ten bins of the balanced probability, how many images are AI-generated; classes weigh alike.

    Dots grow with the bin.
    """
    with canvas(file, "Reliability: said against true") as axes:
        axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="honest")
        for colour, (name, scored) in zip(SERIES, series.items(), strict=False):
            members = in_bins(scored) * class_weights(scored)[:, None]
            sizes = members.sum(axis=0)
            used = sizes > 0
            said, true = ((values @ members)[used] / sizes[used] for values in (scored.balanced, scored.generated))
            axes.plot(said, true, color=colour, linewidth=1)
            axes.scatter(said, true, s=20 + 300 * sizes[used], color=colour, alpha=0.7, label=name)
        _unit_square(axes, "probability of being AI-generated, base rate 0.5", "share that is AI-generated")
        for handle in axes.legend(loc="upper left").legend_handles:
            if handle is not None and hasattr(handle, "set_sizes"):
                handle.set_sizes([40])


def _unit_square(axes: Axes, x: str, y: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel=x, ylabel=y)


def _ranked(scored: Scored) -> tuple[Floats, Floats, Floats, dict[str, float]]:
    """Return false positive rates, true positive rates and precisions as the threshold falls, and figures of these."""
    ones = np.ones((1, len(scored.photos)))
    fpr, tpr, precision = (values[0] for values in curve(scored, ones))
    return fpr, tpr, precision, {name: float(value[0]) for name, value in ranking(scored, ones).items()}


def robustness_bars(matrices: Mapping[str, Mapping[str, Mapping[str, Any]]], file: Path) -> None:
    """Draw each condition's AUROC, a bar a split; `matrices` are figures by split and condition."""
    conditions = list(next(iter(matrices.values())))
    height = 0.8 / len(matrices)
    with canvas(file, "Robustness: AUROC under what the web does to pictures", (7.2, 5.2)) as axes:
        for index, (colour, (split, matrix)) in enumerate(zip(SERIES, matrices.items(), strict=False)):
            places = np.arange(len(conditions)) + (index - (len(matrices) - 1) / 2) * height
            values = [matrix[condition]["auroc"] for condition in conditions]
            spread = _spread([matrix[condition] for condition in conditions], "auroc")
            look: dict[str, Any] = {"color": colour, "alpha": 0.8, "label": split, "error_kw": {"linewidth": 1}}
            axes.barh(places, values, height * 0.9, xerr=spread, **look)
            axes.axvline(values[0], color=colour, linestyle=":", linewidth=1)
        axes.set_yticks(range(len(conditions)), conditions)
        axes.invert_yaxis()
        low = min(figures["auroc_ci95"][0] for matrix in matrices.values() for figures in matrix.values())
        axes.set(xlim=(min(0.5, max(0.0, low - 0.02)), 1), xlabel="AUROC with 95 % interval; dotted: clean")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=len(matrices))


def dots(rows: Rows, key: str, title: str, file: Path) -> None:
    """Draw `auroc` or `flagged`, the latter false alarms for `real/` and found for others, a line each with interval.

    Lines whose name starts with `real/` have the colour of real images; without rows that hold it nothing is drawn.
    """
    rows = [row for row in rows if key in row[1]]
    if not rows:
        return
    with canvas(file, title, (7.2, 1.4 + 0.28 * len(rows))) as axes:
        for place, (name, figures) in enumerate(rows):
            colour = REAL if name.partition(": ")[2].startswith("real/") else GENERATED
            axes.errorbar(figures[key], place, xerr=_spread([figures], key), fmt="o", color=colour, capsize=2)
        axes.set_yticks(range(len(rows)), [f"{name} ({figures['n']})" for name, figures in rows])
        if key == "auroc":
            axes.axvline(0.5, color=NEUTRAL, linestyle=":")  # chance
        below = f"{AXES[key]}, with 95 % interval\nblue: real, orange: AI-generated; in brackets: photos"
        axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.4, -0.6), xlabel=below)


def _spread(rows: Sequence[Mapping[str, Any]], key: str) -> Floats:
    """Return how far each interval reaches below and above its figure, shape (2, N)."""
    values = np.array([row[key] for row in rows])
    bounds = np.array([row[f"{key}_ci95"] for row in rows])
    return np.stack([np.maximum(values - bounds[:, 0], 0), np.maximum(bounds[:, 1] - values, 0)])


def draw_scores(splits: Mapping[str, Scored], folder: Path) -> None:
    """Draw what follows from the scores of each split."""
    roc(splits, folder / "roc.png")
    precision_recall(splits, folder / "precision_recall.png")
    reliability(splits, folder / "reliability.png")
    for name, scored in splits.items():
        confusion(name, scored, folder / f"confusion_{name}.png")
        score_histogram(name, scored, folder / f"scores_{name}.png")


def draw_tables(tables: Mapping[str, Mapping[str, Any]], matrices: Mapping[str, Matrix], folder: Path) -> None:
    """Draw the figures by source and by generator, and the robustness matrix."""
    robustness_bars(matrices, folder / "robustness.png")
    for table, title in TITLES.items():
        rows = [(f"{split}: {name}", row) for split, found in tables.items() for name, row in found[table].items()]
        dots(rows, "auroc", f"{title}: ranking against the whole other class", folder / f"{table}_auroc.png")
        dots(rows, "flagged", f"{title}: share called AI-generated", folder / f"{table}_flagged.png")


def write_curves(splits: Mapping[str, Scored], folder: Path) -> None:
    """Write each split's ROC and precision-recall curve, and its verdicts beside the truth, as CSV."""
    for name, scored in splits.items():
        fpr, tpr, precision = (values.round(6) for values in _ranked(scored)[:3])
        verdicts = zip(scored.generated.astype(int), scored.flagged.astype(int), strict=True)
        write_csv(folder / name / "roc.csv", ("fpr", "tpr"), zip(fpr, tpr, strict=True))
        write_csv(folder / name / "pr.csv", ("recall", "precision"), zip(tpr, precision, strict=True))
        write_csv(
            folder / name / "confusion.csv",
            ("actual", "predicted"),
            ((LABELS[actual], LABELS[predicted]) for actual, predicted in verdicts),
        )
