"""Batches of the shards that a process is to score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from handler.spec import ModelSpec
from training.scoring.pictures import read_pixels
from training.scoring.results import Results


class Batch(NamedTuple):
    """Images of one shard.

    Attributes:
        shard: Number of the shard.
        ends_shard: Whether they are its last.
        pixels: What the network sees of those that can be decoded, of each size uint8 of shape (N, V, side, side, 3).
        codes: One an image: why it cannot be decoded, or None.
    """

    shard: int
    ends_shard: bool
    pixels: list[torch.Tensor]
    codes: list[str | None]


@dataclass(frozen=True)
class Span:
    """Images of a shard, from one up to another."""

    shard: int
    start: int
    stop: int
    ends_shard: bool


def spans_of(shard: int, size: int, batch_size: int) -> list[Span]:
    """Divide a shard into batches."""
    starts = range(0, size, batch_size)
    return [Span(shard, start, min(start + batch_size, size), start == starts[-1]) for start in starts]


class SpanDataset(Dataset[Batch]):
    """Whole batches, each read, decoded and transformed by the process that asks for it."""

    def __init__(self, spans: Sequence[Span], results: Results, root: Path, spec: ModelSpec) -> None:
        self.spans = spans
        self.results = results
        self.root = root
        self.spec = spec
        self._paths: tuple[int, list[str | None]] = (-1, [])

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def pictures(self) -> int:
        """How many images all batches have."""
        return sum(span.stop - span.start for span in self.spans)

    def __getitem__(self, index: int) -> Batch:
        span = self.spans[index]
        if self._paths[0] != span.shard:
            self._paths = (span.shard, self.results.paths(span.shard))
        files = [self.root / (path or "") for path in self._paths[1][span.start : span.stop]]
        found = [read_pixels(file, self.spec) for file in files]
        seen = [pixels for pixels in found if not isinstance(pixels, str)]
        stacked = [torch.stack(alike) for alike in zip(*seen, strict=True)]
        return Batch(span.shard, span.ends_shard, stacked, [one if isinstance(one, str) else None for one in found])


class ShardDataModule(pl.LightningDataModule):
    """Every process scores whole shards, every nth of n processes, so that none waits.

    Lightning's own sampler would deal single images out and repeat some, to give all processes as many.
    """

    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(self, results: Results, root: Path, spec: ModelSpec, batch_size: int, workers: int) -> None:
        super().__init__()
        self.results = results
        self.root = root
        self.spec = spec
        self.batch_size = batch_size
        self.workers = workers

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return this process's batches in order, those of shards that are done left out."""
        rank, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        mine = list(enumerate(self.results.sizes()))[rank::processes]
        open_shards = [(shard, size) for shard, size in mine if not self.results.is_done(shard, size)]
        spans = [span for shard, size in open_shards for span in spans_of(shard, size, self.batch_size)]
        return DataLoader(
            SpanDataset(spans, self.results, self.root, self.spec),
            batch_size=None,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
        )
