"""What the user sees: a bar while images are scored, and a line of figures at the end."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.compute as pc  # type: ignore[import-untyped]
import pytorch_lightning as pl
import torch
from pyarrow import parquet
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from training.scoring.batches import Batch
from training.scoring.results import Results


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
