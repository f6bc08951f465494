"""Logits of images by the engine and the precision that serve, on the path that serving takes."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

import torch
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from handler.engines import AUTO, Engine, OpenVinoEngine, cpus
from handler.spec import ModelSpec
from handler.transforms import Pixels, to_pixels
from training.data.datamodule import Degrade
from training.data.manifest import Photo, read_photo
from training.files import Paths
from training.params import Params

BATCH: Final = 16
"""Images that the engine is given at a time, so that none of its streams waits."""


def predict(params: Params, paths: Paths, photos: Sequence[Photo], degrade: Degrade | None = None) -> torch.Tensor:
    """Return the uncalibrated logits of images in their order, shape (N,), float32, by the run's weights.

    `degrade` changes each decoded image before serving's own transform.
    """
    spec = params.model.spec()
    engine = _engine(paths.graph, paths.weights, spec, paths.weights.stat().st_mtime_ns)
    return logits_by(engine, Served(params.data.root, spec, photos, degrade), params.data.num_workers)


def logits_by(engine: Engine, served: "Served", workers: int = 0) -> torch.Tensor:
    """Return the same by any engine; a progress bar shows the way."""
    loader = DataLoader(served, BATCH, num_workers=workers, collate_fn=list)
    return torch.tensor(
        [
            forward.logit
            for images in track(loader, "predicting", transient=True)
            for forward in engine.run(images, [False] * len(images))
        ]
    )


@lru_cache(maxsize=1)  # an evaluation predicts under many conditions, and compiling takes seconds
def _engine(graph: Path, weights: Path, spec: ModelSpec, written: int) -> OpenVinoEngine:  # noqa: ARG001 - a key
    return OpenVinoEngine(graph, weights, spec, streams=cpus(), precision=AUTO)


class Served(Dataset[Pixels]):
    """What the network sees of images."""

    def __init__(self, root: Path, spec: ModelSpec, photos: Sequence[Photo], degrade: Degrade | None = None) -> None:
        self.root, self.spec, self.photos, self.degrade = root, spec, photos, degrade

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Pixels:
        image = read_photo(self.root, self.photos[index])
        return to_pixels(self.degrade(image) if self.degrade else image, self.spec)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's notes on the machine and its tips."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
