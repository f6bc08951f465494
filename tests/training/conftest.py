import csv
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import pytest
import torch
from PIL import Image

from handler.spec import ModelSpec
from training import calibrate, crossvalidate, evaluate, features, package, params, reference, tracking, train
from training.data.manifest import LABELS, Photo
from training.files import Paths
from training.model import predict
from training.params import Params

SIZES = {"train": 24, "dev": 12, "test": 12}
TINY = (
    "data.num_workers=0",
    "model.architecture=test_efficientnet",  # timm's for tests: EfficientNet's layers with 0.1 million weights
    "model.weights=random",
    "model.input_size=64",
    "model.details=1",
    "model.detail_size=48",
    "model.crop_pct=0.9",
    "train.epochs=1",
    "train.batch_size=8",
    "train.input_size=64",
    "train.precision=32-true",
    "train.compile=false",
    "train.accelerator=cpu",
    "train.ema_decay=0.5",  # so that a few steps move the averaged weights, and scores differ by more than rounding
    "train.devices=1",
    "crossvalidate.folds=2",
    "crossvalidate.epochs=1",
    "evaluate.splits=[dev, test]",
    "evaluate.batch_size=5",
    "evaluate.bootstrap_samples=20",
)

Tiny = Callable[..., Params]
Command = Callable[..., tuple["Paths", "Log"]]
SaveManifest = Callable[[list[dict[str, str]]], Path]


@dataclass(frozen=True)
class Pipeline:
    """A run from pictures to an archive, and what its stages returned."""

    params: Params
    paths: Paths
    auroc: float
    crossvalidation: dict[str, Any]
    calibration: dict[str, Any]
    report: dict[str, Any]
    reference: dict[str, Any]
    archive: Path

    @property
    def temperature(self) -> float:
        return float(self.calibration["temperature"])

    @property
    def spec(self) -> ModelSpec:
        found = self.calibration
        return self.params.model.spec(self.temperature, found["offset"], found["base_rate"], found["operating_point"])


class Log:
    """Takes the place of an MLflow run: keeps what a stage logs."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.figures: dict[str, float] = {}
        self.artifacts: list[Path] = []

    @contextmanager
    def tracked(self, params: Params, paths: Paths, stage: str) -> Iterator[Self]:  # noqa: ARG002 - its signature
        self.stages.append(stage)
        yield self

    def metrics(self, values: Mapping[str, float]) -> None:
        self.figures |= values

    def artifact(self, path: Path) -> None:
        assert path.exists()
        self.artifacts.append(path)


@pytest.fixture(autouse=True)
def _restore_determinism() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)  # Lightning's trainer leaves it on


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('tracking')}/mlflow.db"


@pytest.fixture(autouse=True)
def _track_elsewhere(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what commands log under test out of this checkout."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)


def row(index: int, split: str, label: str) -> dict[str, str]:
    """One line of the manifest: most of a class is from its large source; the test split's rest is of an unseen one."""
    small = "unseen" if split == "test" else "small"
    source = f"{label}-{small if index % 8 >= 6 else 'large'}"
    fixed = {"generator": "none" if label == "real" else "sd", "domain": "shoes", "licence": "CC0"}
    path = f"{split}/{index}.png"
    return {
        "path": path,
        "label": label,
        "split": split,
        "source": source,
        "group": f"{split}-{index // 4}-{label}",
    } | fixed


@pytest.fixture(scope="session")
def rows() -> list[dict[str, str]]:
    return [row(index, split, LABELS[index % 2]) for split, size in SIZES.items() for index in range(size)]


@pytest.fixture(scope="session")
def data_root(rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 pictures of noise, 64 to 96 pixels a side; those of the second class are brighter."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for entry in rows:
        height, width = random.integers(64, 97, 2)
        brightness = 90 * LABELS.index(entry["label"])
        noise = random.integers(brightness, brightness + 160, (height, width, 3), dtype=np.uint8)
        (root / entry["path"]).parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(root / entry["path"])
    save_rows(root, rows)
    return root


def save_rows(root: Path, rows: list[dict[str, str]]) -> None:
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Photo)])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def save_manifest(tmp_path: Path) -> SaveManifest:
    """Write a manifest and an empty file for each picture that it names; return the data folder."""

    def save(rows: list[dict[str, str]]) -> Path:
        for entry in rows:
            (tmp_path / entry["path"]).parent.mkdir(exist_ok=True)
            (tmp_path / entry["path"]).touch()
        save_rows(tmp_path, rows)
        return tmp_path

    return save


@pytest.fixture(scope="session")
def tiny(data_root: Path) -> Tiny:
    """The project's own parameters, made small, with further overrides."""

    def load(*overrides: str) -> Params:
        return params.load(Path("params.yaml"), [f"data.root={data_root}", *TINY, *overrides])

    return load


@pytest.fixture
def command(pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a stage's command on a copy of the pipeline's files; return where these are, and what was logged."""

    def run(stage: ModuleType, *arguments: str) -> tuple[Paths, Log]:
        root = tmp_path / "pipeline"
        shutil.copytree(pipeline.paths.run.parent, root, dirs_exist_ok=True)
        paths, log = Paths(root / "run", root / "store", root / "reports"), Log()
        params.dump(pipeline.params, root / "params.yaml")
        options = {"params": root / "params.yaml", "run": paths.run, "store": paths.store, "reports": paths.reports}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        monkeypatch.setattr(tracking, "tracked", log.tracked)
        monkeypatch.setattr(sys, "argv", [stage.__name__, *words, *arguments])
        stage.main()
        return paths, log

    return run


FROZEN = (
    "model.architecture=vit_tiny_patch16_224",
    "model.details=0",
    "model.detail_size=64",
    "model.crop_pct=1.0",
    "model.blocks=3",
    "model.read_blocks=[2, 3]",
    "train.epochs=3",
    "train.weight_decay=0.05",
    "augment.degraded_copies=1",
)


@pytest.fixture(scope="session", autouse=True)
def _predict_in_float32() -> Iterator[None]:
    """The weights of a moment's training leave less apart than bfloat16 rounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "AUTO", "f32")
        yield


def _all_stages(chosen: Params, paths: Paths) -> Pipeline:
    return Pipeline(
        chosen,
        paths,
        auroc=train.run(chosen, paths),
        crossvalidation=crossvalidate.run(chosen, paths),
        calibration=calibrate.run(chosen, paths),
        report=evaluate.run(chosen, paths),
        reference=reference.run(chosen, paths),
        archive=package.run(chosen, paths),
    )


@pytest.fixture(scope="session")
def frozen_pipeline(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The same for a head on a frozen vision transformer."""
    root = tmp_path_factory.mktemp("frozen")
    chosen, paths = tiny(*FROZEN), Paths(root / "run", root / "store", root / "reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "CACHE", root / "cache")
        features.run(chosen, paths)
    return _all_stages(chosen, paths)


@pytest.fixture(scope="session")
def pipeline(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """All stages, run once."""
    root = tmp_path_factory.mktemp("pipeline")
    chosen, paths = tiny(), Paths(root / "run", root / "store", root / "reports")
    return _all_stages(chosen, paths)
