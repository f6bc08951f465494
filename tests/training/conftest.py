from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from training import calibrate, evaluate, package, params, train
from training.data import LABELS, Photo
from training.params import Params
from training.paths import Paths

SIZES = {"train": 24, "dev": 12, "test": 12}
TINY = (
    "data.num_workers=0",
    "model.pretrained=false",
    "model.input_size=64",
    "model.crop_pct=0.9",
    "train.epochs=1",
    "train.batch_size=8",
    "train.input_size=64",
    "train.precision=32-true",
    "train.accelerator=cpu",
    "train.devices=1",
    "evaluate.batch_size=5",
    "evaluate.bootstrap_samples=20",
)

Tiny = Callable[..., Params]
SaveManifest = Callable[[list[dict[str, str]]], Path]


@dataclass(frozen=True)
class Pipeline:
    """A run from pictures to an archive, and what its stages returned."""

    params: Params
    paths: Paths
    auroc: float
    temperature: float
    report: dict[str, Any]
    archive: Path


@pytest.fixture(autouse=True)
def _restore_determinism() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)  # Lightning's trainer leaves it on


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


@pytest.fixture(scope="session")
def pipeline(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """All stages, run once."""
    root = tmp_path_factory.mktemp("pipeline")
    chosen, paths = tiny(), Paths(root / "run", root / "store")
    auroc = train.run(chosen, paths)
    temperature = calibrate.run(chosen, paths)
    report = evaluate.run(chosen, paths)
    return Pipeline(chosen, paths, auroc, temperature, report, package.run(chosen, paths))
