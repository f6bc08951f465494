"""Logits of photos by the weights that ship, on the path that serving takes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytorch_lightning as pl
import torch

from handler import network
from training.data import Photo
from training.datamodule import Degrade, PhotoDataModule
from training.module import DetectorModule
from training.paths import Paths


def predict(
    data: PhotoDataModule, paths: Paths, photos: Sequence[Photo], degrade: Degrade | None = None
) -> torch.Tensor:
    """Return the uncalibrated logits of photos in their order, shape (N,), float32, by the run's weights.

    `degrade` changes each decoded picture before serving's own transform; a progress bar shows the way.
    """
    module = DetectorModule(data.params, network.load(data.params.model.spec(), paths.weights))
    with quiet():
        trainer = pl.Trainer(
            accelerator=data.params.train.accelerator, devices=1, logger=False, enable_checkpointing=False
        )
        batches = trainer.predict(module, data.loader(photos, degrade))
    return torch.cat([torch.as_tensor(batch) for batch in batches or []])


@contextmanager
def quiet() -> Iterator[None]:
    """Spare the reader what Lightning says of the machine, and its tips, before each of many predictions."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
