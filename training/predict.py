"""Logits of a split by the weights that ship, on the path that serving takes."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from safetensors.torch import load_file

from training.data import Photo, Split, of_split
from training.datamodule import PhotoDataModule
from training.module import DetectorModule
from training.paths import Paths


def predict(data: PhotoDataModule, paths: Paths, split: Split) -> tuple[list[Photo], torch.Tensor]:
    """Return a split's photos and their uncalibrated logits, shape (N,), in the manifest's order, in float32."""
    data.setup()
    module = DetectorModule(data.params)
    module.model.load_state_dict(load_file(paths.weights))
    trainer = pl.Trainer(accelerator=data.params.train.accelerator, devices=1, logger=False, enable_checkpointing=False)
    batches = trainer.predict(module, data.loader(split))
    return of_split(data.photos, split), torch.cat([torch.as_tensor(batch) for batch in batches or []])
