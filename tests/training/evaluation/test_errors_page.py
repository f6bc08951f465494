from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.handler.detectors import eager
from tests.training.conftest import Pipeline
from tests.training.marks import NOISE
from tests.training.photos import AI, REAL, photo, scored
from training.data.manifest import of_split, read_manifest
from training.evaluation import errors_page
from training.evaluation.errors_page import THUMBNAIL, WORST, explain, worst
from training.evaluation.figures import Scored

pytestmark = NOISE


class Page(HTMLParser):
    """Collects what a page shows and where it points."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href"} and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(pipeline: Pipeline) -> Page:
    return Page(pipeline.paths.evaluation_page.read_text(encoding="utf-8"))


def test_the_page_is_whole_and_asks_nobody_for_anything(page: Page) -> None:
    assert page.open == []
    assert page.addresses
    for address in page.addresses:
        assert re.match(r"#|data:image/(png|jpeg);base64,", address)


def test_the_page_shows_each_error_with_its_photo_and_heat_map(pipeline: Pipeline, page: Page) -> None:
    everything = pipeline.report["splits"]
    errors = 0
    for split in everything.values():
        figures = split["all_sources"]
        errors += round(6 * figures["false_positive_rate"]) + round(6 * (1 - figures["true_positive_rate"]))
    pictures = [uri for uri in page.addresses if uri.startswith("data:image/jpeg")]
    assert errors > 0
    assert len(pictures) == 2 * errors


def test_the_worst_errors_come_first_and_no_more_than_fit() -> None:
    photos = [photo(REAL, str(n)) for n in range(40)] + [photo(AI, str(n)) for n in range(40)]
    probabilities = np.random.default_rng(0).random(80)
    predicted = scored(photos, probabilities.tolist())
    alarms, missed = worst(predicted, REAL), worst(predicted, AI)
    assert len(alarms.photos) == len(missed.photos) == WORST == 12
    assert alarms.probabilities.tolist() == sorted(probabilities[:40], reverse=True)[:12]
    assert missed.probabilities.tolist() == sorted(probabilities[40:])[:12]
    assert {one.label for one in alarms.photos} == {REAL}
    assert {one.label for one in missed.photos} == {AI}


def test_right_verdicts_are_no_errors() -> None:
    predicted = scored([photo(REAL), photo(AI)], [0.1, 0.9])
    assert (worst(predicted, REAL).photos, worst(predicted, AI).photos) == ([], [])


def test_an_error_is_shown_with_the_probability_that_is_served(pipeline: Pipeline) -> None:
    root = pipeline.params.data.root
    photos = of_split(read_manifest(root, pipeline.params.data.manifest), "test")[:5]
    detector = eager(pipeline.spec, pipeline.paths.weights)
    wrong = Scored(photos, np.full(5, 0.5))
    mistakes = explain(detector, root, wrong, "explaining")
    assert [mistake.photo for mistake in mistakes] == photos
    for mistake in mistakes:
        assert 0 <= mistake.probability <= 1
        for uri in (mistake.picture, mistake.heatmap):
            with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
                assert (image.format, max(image.size) <= THUMBNAIL) == ("JPEG", True)
        assert mistake.picture != mistake.heatmap


def test_what_a_manifest_says_is_text_on_the_page(pipeline: Pipeline, tmp_path: Path) -> None:
    """A source named in HTML stays what it is: letters."""
    photos = of_split(read_manifest(pipeline.params.data.root, pipeline.params.data.manifest), "test")[:1]
    named = [type(photos[0])(**(vars(photos[0]) | {"source": "<script>alert(1)</script>"}))]
    wrong = Scored(named, np.array([0.9 if named[0].label == REAL else 0.1]))
    reports = type(pipeline.paths)(pipeline.paths.run, tmp_path, tmp_path)
    for file in (pipeline.paths.metrics, pipeline.paths.calibration):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    errors_page.write(pipeline.params, reports, {"test": wrong})
    text = reports.evaluation_page.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>" not in text
