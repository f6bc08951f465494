"""Lightning's view of a packed detector, and what it does with its verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow.compute as pc  # type: ignore[import-untyped]
import pytorch_lightning as pl
import torch
from pyarrow import parquet
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch.utils.data import DataLoader, Dataset

from handler import network
from handler.engines import AUTO, Engine, cpus
from handler.spec import ModelSpec, decide
from training.scoring.archive import Packed
from training.scoring.results import Results, read_pixels

ENGINE_PRECISIONS: Final = {AUTO: AUTO, "32-true": "f32", "bf16-true": "bf16"}
"""The engine's names for those of Lightning's that it has; by default it computes in what it serves in."""


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


class SpanDataset(Dataset[Batch]):
    """Whole batches of so many shards, each read, decoded and transformed by the process that asks for it."""

    def __init__(
        self, shards: Mapping[int, int], batch_size: int, results: Results, root: Path, spec: ModelSpec
    ) -> None:
        """`shards`: sizes of these, by their number."""
        self.spans = [
            (shard, range(start, min(start + batch_size, size)), start + batch_size >= size)
            for shard, size in shards.items()
            for start in range(0, size, batch_size)
        ]
        self.images = sum(shards.values())
        self.results = results
        self.root = root
        self.spec = spec
        self._paths: tuple[int, list[str | None]] = (-1, [])

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> Batch:
        shard, span, ends_shard = self.spans[index]
        if self._paths[0] != shard:
            self._paths = (shard, self.results.paths(shard))
        found = [read_pixels(self.root / (self._paths[1][place] or ""), self.spec) for place in span]
        seen = [pixels for pixels in found if not isinstance(pixels, str)]
        stacked = [torch.stack(alike) for alike in zip(*seen, strict=True)]
        return Batch(shard, ends_shard, stacked, [one if isinstance(one, str) else None for one in found])


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
        open_shards = {shard: size for shard, size in mine if not self.results.is_done(shard, size)}
        return DataLoader(
            SpanDataset(open_shards, self.batch_size, self.results, self.root, self.spec),
            batch_size=None,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
        )


class ScoringModule(pl.LightningModule):
    """The served network, predicting batches: in PyTorch on GPUs, and on CPUs by the engine that serves there."""

    def __init__(self, packed: Packed, precision: str = AUTO, threads: int = 0) -> None:
        """`precision`: Lightning's name or `auto`; `threads` of the CPU that an engine has, 0: all that it may use."""
        super().__init__()
        self.network = network.PixelNetwork(packed.model, packed.spec).to(memory_format=torch.channels_last)
        self._packed = packed
        self._precision = ENGINE_PRECISIONS.get(precision)
        self._threads = threads or cpus()

    def predict_step(self, batch: Batch, batch_index: int) -> torch.Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the logits of the images that can be decoded, shape (N,), float32."""
        if not batch.pixels:
            return torch.empty(0)
        if self._engine is not None:
            pictures = list(zip(*batch.pixels, strict=True))
            return torch.tensor([one.logit for one in self._engine.run(pictures, [False] * len(pictures))])
        logits = [self.network(alike.flatten(0, 1))[0].float().view(alike.shape[:2]) for alike in batch.pixels]
        return torch.cat(logits, dim=1).mean(dim=1)

    @cached_property
    def _engine(self) -> Engine | None:
        """Compiled at the first batch, when the processes that decode have long been forked."""
        if self.device.type != "cpu" or self._precision is None or self._packed.graph is None:
            return None
        return self._packed.engine(self._threads, self._precision)


class ShardWriter(pl.Callback):
    """Writes a shard as soon as its last batch is predicted, and shows the first process's progress.

    Not Lightning's BasePredictionWriter and bars, which count by its own sampler and by batches.
    """

    def __init__(self, results: Results, spec: ModelSpec) -> None:
        self.results = results
        self.spec = spec
        self._logits: list[torch.Tensor] = []
        self._codes: list[str | None] = []
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()
        )

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 - Lightning's
        """Show the bar."""
        whose = f" (process 1 of {trainer.world_size})" if trainer.world_size > 1 else ""
        mine = trainer.predict_dataloaders
        self._progress.add_task(f"Scoring{whose}", total=mine.dataset.images if mine else None)
        if trainer.is_global_zero:
            self._progress.start()

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,  # noqa: ARG002 - Lightning's signature
        pl_module: pl.LightningModule,  # noqa: ARG002 - the same
        outputs: torch.Tensor,
        batch: Batch,
        *_: Any,  # noqa: ANN401 - the same
        **__: Any,  # noqa: ANN401 - the same
    ) -> None:
        """Keep a batch's logits, on their device: reading them at once would make a GPU wait for every batch."""
        self._logits.append(outputs)
        self._codes += batch.codes
        if batch.ends_shard:
            logits = iter([logit for batch in self._logits for logit in batch.tolist()])
            found = [decide(next(logits), self.spec) if code is None else code for code in self._codes]
            self.results.write(batch.shard, found, self.spec.version)
            self._logits, self._codes = [], []
        self._progress.advance(self._progress.task_ids[0], len(batch.codes))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 - Lightning's
        """Leave the bar as it is."""
        self._progress.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:  # noqa: ARG002 - Lightning's
        """Leave the bar as it is, and the terminal as it was."""
        self._progress.stop()
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            self._progress.print("Stopped; repeat the command to resume")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} pictures/s")


@dataclass(frozen=True)
class Summary:
    """A folder's images in all, and those that this run scored, with the seconds that it took."""

    pictures: int
    positive: int
    failed: int
    scored: int
    seconds: float

    @classmethod
    def of(cls, results: Results, positive_label: str, scored: int, seconds: float) -> Summary:
        """Count what all shards hold."""
        pictures = positive = failed = 0
        for shard in range(len(results.sizes())):
            part = parquet.read_table(results.part(shard), columns=["prediction", "error"])
            pictures += part.num_rows
            positive += pc.sum(pc.equal(part["prediction"], positive_label)).as_py() or 0
            failed += part.num_rows - part["error"].null_count
        return cls(pictures, positive, failed, scored, seconds)

    def __str__(self) -> str:
        counts = f"{self.pictures:,} pictures: {self.positive:,} AI-generated, {self.failed:,} failed"
        if not self.scored:
            return f"{counts}; all were scored before"
        return f"{counts}; {self.scored:,} scored now, {self.scored / self.seconds:,.1f} pictures/s"
