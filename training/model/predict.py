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

from handler.engines import AUTO, OpenVinoEngine, cpus
from handler.spec import ModelSpec
from handler.transforms import Pixels, to_pixels
from training.data.datamodule import Degrade, PhotoDataModule
from training.data.manifest import Photo, read_photo
from training.files import Paths
from training.params import Params

BATCH: Final = 16
"""Photos that the engine is given at a time, so that none of its streams waits."""


def predict(
    data: PhotoDataModule, paths: Paths, photos: Sequence[Photo], degrade: Degrade | None = None
) -> torch.Tensor:
    """Return the uncalibrated logits of images in their order, shape (N,), float32, by the run's weights.

    `degrade` changes each decoded image before serving's own transform; a progress bar shows the way.
    """
    engine = _engine(paths.graph, paths.weights, data.spec, paths.weights.stat().st_mtime_ns)
    loader = DataLoader(
        _Served(data.params, photos, degrade), BATCH, num_workers=data.params.data.num_workers, collate_fn=list
    )
    return torch.tensor(
        [
            forward.logit
            for pictures in track(loader, "predicting", transient=True)
            for forward in engine.run(pictures, [False] * len(pictures))
        ]
    )


@lru_cache(maxsize=1)  # an evaluation predicts under many conditions, and compiling takes seconds
def _engine(graph: Path, weights: Path, spec: ModelSpec, written: int) -> OpenVinoEngine:  # noqa: ARG001 - a key
    return OpenVinoEngine(graph, weights, spec, streams=cpus(), precision=AUTO)


class _Served(Dataset[Pixels]):
    """What the network sees of images."""

    def __init__(self, params: Params, photos: Sequence[Photo], degrade: Degrade | None) -> None:
        self.root, self.spec = params.data.root, params.model.spec()
        self.photos, self.degrade = photos, degrade

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Pixels:
        picture = read_photo(self.root, self.photos[index])
        return to_pixels(self.degrade(picture) if self.degrade else picture, self.spec)


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
