"""Lightning's view of a packed detector, and what it does with its verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow.compute as pc  # type: ignore[import-untyped]
import pytorch_lightning as pl
import torch
from pyarrow import parquet
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch.utils.data import DataLoader, Dataset

from handler import network
from handler.engines import AUTO, Engine, cpus
from handler.spec import ModelSpec, Verdict, decide
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
    """Writes a shard as soon as its last batch is predicted.

    Not Lightning's BasePredictionWriter, which counts images by its own sampler.
    """

    def __init__(self, results: Results, spec: ModelSpec) -> None:
        self.results = results
        self.spec = spec
        self._logits: list[torch.Tensor] = []
        self._codes: list[str | None] = []

    def on_predict_batch_end(  # noqa: PLR0913, PLR0917 - Lightning's signature
        self,
        trainer: pl.Trainer,  # noqa: ARG002 - Lightning's signature
        pl_module: pl.LightningModule,  # noqa: ARG002 - the same
        outputs: torch.Tensor,
        batch: Batch,
        batch_idx: int,  # noqa: ARG002 - the same
        dataloader_idx: int = 0,  # noqa: ARG002 - the same
    ) -> None:
        """Keep a batch's logits, on their device: reading them at once would make a GPU wait for every batch."""
        self._logits.append(outputs)
        self._codes += batch.codes
        if batch.ends_shard:
            self.results.write(batch.shard, self._found(), self.spec.version)
            self._logits, self._codes = [], []

    def _found(self) -> list[Verdict | str]:
        logits = iter([logit for batch in self._logits for logit in batch.tolist()])
        return [decide(next(logits), self.spec) if code is None else code for code in self._codes]


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


class Bar(pl.Callback):
    """A progress bar of the first process's images, with their rate."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()
        )

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 - Lightning's
        """Show the bar."""
        if trainer.is_global_zero:
            whose = f" (process 1 of {trainer.world_size})" if trainer.world_size > 1 else ""
            mine = trainer.predict_dataloaders
            self._progress.add_task(f"Scoring{whose}", total=mine.dataset.pictures if mine else None)
            self._progress.start()

    def on_predict_batch_end(  # noqa: PLR0913, PLR0917 - Lightning's signature
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002 - Lightning's signature
        outputs: torch.Tensor,  # noqa: ARG002 - the same
        batch: Batch,
        batch_idx: int,  # noqa: ARG002 - the same
        dataloader_idx: int = 0,  # noqa: ARG002 - the same
    ) -> None:
        """Move the bar."""
        if trainer.is_global_zero:
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
