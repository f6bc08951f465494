from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import handler
from handler.decision import decide
from handler.detector import Detector, Item, Judged
from handler.spec import ModelSpec
from tests.training.conftest import Pipeline
from tests.training.marks import NOISE
from training import repack
from training.datamodule import PhotoDataModule
from training.package import SERVING, PackagingError, build_archive
from training.predict import predict

pytestmark = NOISE
CODE = Path(handler.__file__).parent


def test_the_figures_count_every_photo(pipeline: Pipeline) -> None:
    written = json.loads(pipeline.paths.metrics.read_text(encoding="utf-8"))
    assert written == pipeline.report
    assert written["model_version"] == pipeline.params.model.version
    assert list(written["splits"]) == ["dev", "test"]
    for name, split in written["splits"].items():
        small = "unseen" if name == "test" else "small"
        assert (split["all_sources"]["n_real"], split["all_sources"]["n_ai_generated"]) == (6, 6)
        assert {source: figures["n"] for source, figures in split["by_source"].items()} == {
            "ai_generated/ai_generated-large": 5,
            f"ai_generated/ai_generated-{small}": 1,
            "real/real-large": 5,
            f"real/real-{small}": 1,
        }
    counts: Counter[str] = Counter()
    for entry in written["data"]:
        counts[entry["split"]] += entry["n"]
    assert counts == {"train": 24, "dev": 12, "test": 12}


def test_figures_of_unseen_sources_leave_out_every_source_that_training_had(pipeline: Pipeline) -> None:
    dev, test = pipeline.report["splits"]["dev"], pipeline.report["splits"]["test"]
    assert dev["unseen_sources"] is None
    assert (test["unseen_sources"]["n_real"], test["unseen_sources"]["n_ai_generated"]) == (1, 1)
    assert test["sources_in_train"] == ["ai_generated-large", "real-large"]


def test_the_archive_holds_the_handlers_code_the_weights_and_the_spec(pipeline: Pipeline) -> None:
    assert pipeline.archive == pipeline.paths.store / "product-photo-detector.mar"
    modules = {file.name for file in CODE.glob("*.py")} - {"torchserve_entry.py"}
    with zipfile.ZipFile(pipeline.archive) as archive:
        assert archive.testzip() is None
        files = {name for name in archive.namelist() if not name.endswith("/")}
        assert files == {f"handler/{name}" for name in modules} | {
            "torchserve_entry.py",
            "model.safetensors",
            "model-config.yaml",
            "MAR-INF/MANIFEST.json",
        }
        for name in modules:
            assert archive.read(f"handler/{name}") == (CODE / name).read_bytes()
        assert archive.read("torchserve_entry.py") == (CODE / "torchserve_entry.py").read_bytes()
        assert archive.read("model.safetensors") == pipeline.paths.weights.read_bytes()
        config = yaml.safe_load(archive.read("model-config.yaml"))
        model = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
    spec = pipeline.params.model.spec(pipeline.temperature)
    assert config == SERVING | {"spec": spec.to_mapping()}
    assert ModelSpec.from_mapping(config["spec"]) == spec
    assert (model["modelName"], model["modelVersion"]) == ("product-photo-detector", pipeline.params.model.version)
    assert (model["handler"], model["serializedFile"]) == ("torchserve_entry.py", "model.safetensors")


def test_the_store_holds_the_archive_its_figures_and_its_card(pipeline: Pipeline) -> None:
    assert sorted(file.name for file in pipeline.paths.store.iterdir()) == [
        "MODEL_CARD.md",
        "metrics.json",
        "product-photo-detector.mar",
    ]
    assert (pipeline.paths.store / "metrics.json").read_bytes() == pipeline.paths.metrics.read_bytes()


def test_what_was_packed_judges_as_it_was_evaluated(pipeline: Pipeline) -> None:
    spec = pipeline.params.model.spec(pipeline.temperature)
    detector = Detector.load(spec, pipeline.paths.weights, torch.device("cpu"))
    photos, logits = predict(PhotoDataModule(pipeline.params), pipeline.paths, "test")
    answers = detector.judge([Item((pipeline.params.data.root / photo.path).read_bytes()) for photo in photos])
    for answer, logit in zip(answers, logits.tolist(), strict=True):
        assert isinstance(answer, Judged)
        assert answer.verdict.probability == pytest.approx(decide(logit, spec).probability, abs=1e-4)


def test_the_model_card_states_every_figure(pipeline: Pipeline) -> None:
    card = (pipeline.paths.store / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith(f"# Model card: product photo detector {pipeline.params.model.version}\n")
    assert f"Temperature {pipeline.temperature} (arXiv" in card
    assert "from random weights (no ImageNet weights)" in card
    assert "centred square of 90% of the shorter side, resized to 64 px" in card
    for split, result in pipeline.report["splits"].items():
        f = result["all_sources"]
        low, high = f["auroc_ci95"]
        below, above = f["balanced_accuracy_ci95"]
        assert (
            f"| {split}, all sources | 6 / 6 | {f['auroc']:.3f} ({low:.3f} to {high:.3f}) "
            f"| {f['average_precision']:.3f} | {f['balanced_accuracy']:.3f} ({below:.3f} to {above:.3f}) "
            f"| {f['true_positive_rate']:.1%} | {f['false_positive_rate']:.1%} "
            f"| {f['expected_calibration_error']:.3f} |\n"
        ) in card
        for name, s in result["by_source"].items():
            mark = "" if name.endswith("unseen") else " (also in train)"
            assert f"| {split} | `{name}`{mark} | {s['n']} | {s['auroc']:.3f} | {s['flagged']:.1%} |" in card
    assert "| train | ai_generated | ai_generated-large | sd | CC0 | 9 |" in card


def test_the_model_card_states_the_runs_parameters(pipeline: Pipeline) -> None:
    card = (pipeline.paths.store / "MODEL_CARD.md").read_text(encoding="utf-8")
    stated = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    used = yaml.safe_load(pipeline.paths.used_params.read_text(encoding="utf-8"))
    assert stated == {section: used[section] for section in ("train", "augment")}


def test_weights_that_are_not_there_are_reported_by_the_archiver(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match=r"absent\.safetensors"):
        build_archive(ModelSpec(version="1.0.0"), tmp_path / "absent.safetensors", tmp_path / "store" / "a.mar")


def test_packing_again_replaces_the_archive(pipeline: Pipeline, tmp_path: Path) -> None:
    archive = tmp_path / "store" / "a.mar"
    for version in ("1.0.0", "1.0.1"):
        assert build_archive(ModelSpec(version=version), pipeline.paths.weights, archive) == archive
    with zipfile.ZipFile(archive) as packed:
        assert yaml.safe_load(packed.read("model-config.yaml"))["spec"]["version"] == "1.0.1"
    assert list(archive.parent.iterdir()) == [archive]


def test_a_repacked_model_differs_in_its_version_alone(pipeline: Pipeline, tmp_path: Path) -> None:
    archive = Path(shutil.copy(pipeline.archive, tmp_path))
    repacked = repack.run(archive, "1.2.0-rc1")
    assert repacked == tmp_path / "product-photo-detector-1.2.0-rc1.mar"
    assert archive.read_bytes() == pipeline.archive.read_bytes()
    with zipfile.ZipFile(repacked) as packed:
        spec = ModelSpec.from_mapping(yaml.safe_load(packed.read("model-config.yaml"))["spec"])
        weights = Path(packed.extract("model.safetensors", tmp_path / "out"))
        model = json.loads(packed.read("MAR-INF/MANIFEST.json"))["model"]
    assert spec == dataclasses.replace(pipeline.params.model.spec(pipeline.temperature), version="1.2.0-rc1")
    assert (model["modelName"], model["modelVersion"]) == ("product-photo-detector", "1.2.0-rc1")
    before, after = load_file(pipeline.paths.weights), load_file(weights)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
