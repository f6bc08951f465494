"""Small pictures, folders of them, and predictions of such."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training import params
from training.data import manifest
from training.data.manifest import Photo
from training.data.sources import Entry
from training.evaluation.figures import Scored
from training.files import StageError
from training.params import Params

SIDE = 32


def noise(seed: int, low: int = 0, high: int = 256, side: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(low, high, (side, side, 3), dtype=np.uint8)


def encoded(pixels: NDArray[np.uint8], file_format: str = "PNG", **options: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, file_format, **options)
    return out.getvalue()


def row(path: str, label: str, split: str = "train", source: str = "a", group: str = "") -> Photo:
    generator = "none" if label == "real" else "sd"
    return Photo(path, label, split, source, generator, "shoes", group or path, "CC0")


def save(root: Path, path: str, content: bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


def save_folder(root: Path, photos: Sequence[Photo]) -> None:
    """Write a manifest and a different picture for each of its rows."""
    for seed, photo in enumerate(photos):
        save(root, photo.path, encoded(noise(seed)))
    manifest.write_manifest(root / "manifest.csv", photos)


def small(root: Path, *overrides: str) -> Params:
    """The project's own parameters for a folder of small pictures."""
    fixed = [f"data.root={root}", "data.num_workers=0", f"train.input_size={SIDE}", f"model.input_size={SIDE}"]
    return params.load(Path("params.yaml"), [*fixed, *overrides])


@dataclass
class FakeHub:
    """A hub in memory, which counts how often it was asked; without images it is not to be had."""

    images: Sequence[Entry] = ()
    asked: int = 0

    def __call__(self, cache: Path) -> Sequence[Entry]:
        assert not cache.exists()
        self.asked += 1
        if not self.images:
            raise StageError("CIFAKE is unavailable")
        return self.images


def cifake(train: int, test: int) -> list[Entry]:
    """So many pictures of each class in each of CIFAKE's splits."""
    wanted = [
        (label, split)
        for label in ("real", "ai_generated")
        for split, count in (("train", train), ("test", test))
        for _ in range(count)
    ]
    return [Entry(encoded(noise(seed), "JPEG"), label, split) for seed, (label, split) in enumerate(wanted)]


REAL, AI = "real", "ai_generated"


def photo(label: str, source: str = "a", group: str = "g", generator: str = "none", domain: str = "shoes") -> Photo:
    return Photo("a.png", label, "test", source, generator, domain, group, "CC0")


def scored(photos: Sequence[Photo], probabilities: Sequence[float], base_rate: float = 0.5) -> Scored:
    return Scored(photos, np.array(probabilities, dtype=np.float64), base_rate)


def overlapping(groups: int, size: int = 1) -> Scored:
    """Photos of classes that overlap, in so many groups a class; those of a group are equal."""
    random = np.random.default_rng(1)
    photos = [
        photo(label, group=f"{label}{group}") for label in (REAL, AI) for group in range(groups) for _ in range(size)
    ]
    logits = random.normal(size=(2, groups)) + np.array([[-0.6], [0.6]])
    probabilities = 1 / (1 + np.exp(-np.repeat(logits, size, axis=1).ravel()))
    return scored(photos, probabilities.tolist())
