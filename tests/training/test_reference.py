import json

import numpy as np
import pytest

from handler.spec import ModelSpec, decide
from handler.statistics import DEFINITIONS
from tests.training.conftest import Command, Pipeline
from tests.training.marks import NOISE
from training import reference
from training.data.manifest import of_split, read_manifest, read_photo
from training.model.predict import predict
from training.reference import QUANTILES, score_statistics, summary

pytestmark = NOISE


def test_the_summary_of_known_values() -> None:
    found = summary(np.arange(101.0))
    assert (found["mean"], found["std"]) == (50, pytest.approx(np.sqrt(850)))
    assert found["quantiles"] == {str(share): pytest.approx(100 * share) for share in QUANTILES}
    assert list(found["quantiles"]) == ["0.01", "0.05", *(f"0.{decile}" for decile in range(1, 10)), "0.95", "0.99"]


def test_the_statistics_of_known_scores() -> None:
    scores = np.array([0.0, 0.1, 0.3, 0.45, 0.5, 0.7, 0.95, 1.0])
    found = score_statistics(scores, ModelSpec(version="1", base_rate=0.3))
    assert found["histogram"]["edges"] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1])
    assert sum(found["histogram"]["share"]) == 1
    assert found["histogram"]["share"][9] == 2 / 8
    assert found["ai_generated_ratio"]["value"] == 4 / 8
    assert found["base_rate"] == 0.3
    assert found["low_confidence_ratio"]["value"] == 2 / 8


def test_the_reference_is_of_the_calibration_split(pipeline: Pipeline) -> None:
    found = json.loads(pipeline.paths.reference.read_text(encoding="utf-8"))
    assert (found["model_version"], found["split"], found["n"]) == (pipeline.params.model.version, "dev", 12)
    photos = of_split(read_manifest(pipeline.params.data.root, pipeline.params.data.manifest), "dev")
    logits = predict(pipeline.params, pipeline.paths, photos).tolist()
    served = [decide(logit, pipeline.spec) for logit in logits]
    assert found["scores"]["mean"] == pytest.approx(np.mean([verdict.probability for verdict in served]), abs=1e-6)
    flagged = np.mean([verdict.prediction == "ai_generated" for verdict in served])
    assert found["scores"]["ai_generated_ratio"]["value"] == pytest.approx(flagged, abs=1e-6)
    low = np.mean([verdict.confidence == "low" for verdict in served])
    assert found["scores"]["low_confidence_ratio"]["value"] == pytest.approx(low, abs=1e-6)


def test_input_statistics_are_of_the_files_as_they_lie(pipeline: Pipeline) -> None:
    root = pipeline.params.data.root
    photos = of_split(read_manifest(root, pipeline.params.data.manifest), "dev")
    sizes = [read_photo(root, photo).size for photo in photos]
    found = json.loads(pipeline.paths.reference.read_text(encoding="utf-8"))["inputs"]
    assert list(found) == list(DEFINITIONS)
    assert found["width"]["mean"] == pytest.approx(np.mean([width for width, _ in sizes]), abs=1e-6)
    assert found["height"]["quantiles"]["0.5"] == pytest.approx(np.median([height for _, height in sizes]), abs=1e-6)
    weights = [(root / photo.path).stat().st_size / (w * h) for photo, (w, h) in zip(photos, sizes, strict=True)]
    assert found["bytes_per_pixel"]["mean"] == pytest.approx(np.mean(weights), abs=1e-6)


def test_the_command_writes_and_logs_the_reference(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    paths, log = command(reference)
    assert log.artifacts == [paths.reference]
    assert capsys.readouterr().out.splitlines()[-1] == f"reference statistics in {paths.reference}"
