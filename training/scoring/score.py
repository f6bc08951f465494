"""Score a catalogue in bulk, by the archive that is served: `python -m training.scoring.score SOURCE --out FOLDER`."""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.warnings import PossibleUserWarning
from pyarrow import compute, parquet  # type: ignore[import-untyped]
from rich import progress
from rich.text import Text
from torch.utils.data import DataLoader, Dataset

from handler import engines, network
from handler.spec import ModelSpec, decide
from training.files import Paths, refusals
from training.model.predict import quiet
from training.scoring.archive import Packed, read_packed
from training.scoring.results import Results, read_pixels

MOST_WORKERS: Final = 8
"""Decoding processes, if the user names no number."""
ENGINE_PRECISIONS: Final = {engines.AUTO: engines.AUTO, "32-true": "f32", "bf16-true": "bf16"}
"""The engine's names for those of Lightning's that it has; by default it computes in what it serves in."""


@dataclass(frozen=True)
class Plan:
    """What to score, by what, where to and how; `trainer` holds arguments of Lightning's Trainer."""

    source: Path
    out: Path
    archive: Path
    trainer: dict[str, Any]
    root: Path | None = None
    batch_size: int = 16
    workers: int = 0
    shard_size: int = 4096
    restart: bool = False

    @property
    def pictures_in(self) -> Path:
        """The folder that relative paths begin at."""
        return (self.root or (self.source if self.source.is_dir() else self.source.parent)).resolve()

    @property
    def precision(self) -> str:
        """Lightning's name, or `auto`."""
        return str(self.trainer.get("precision") or engines.AUTO)


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

    def __init__(self, shards: Mapping[int, int], plan: Plan, packed: Packed, results: Results) -> None:
        """`shards`: sizes of these, by their number."""
        step = plan.batch_size
        self.spans = [
            (shard, range(start, min(start + step, size)), start + step >= size)
            for shard, size in shards.items()
            for start in range(0, size, step)
        ]
        self.images = sum(shards.values())
        self.results, self.root, self.spec = results, plan.pictures_in, packed.spec
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


class ScoringModule(pl.LightningModule):
    """The served network, predicting batches: in PyTorch on GPUs, and on CPUs by the engine that serves there.

    Every process scores whole shards, every nth of n processes, so that none waits. Lightning's own sampler would deal
    single images out and repeat some, to give all processes as many.
    """

    def __init__(self, plan: Plan, packed: Packed, results: Results, threads: int) -> None:
        """`threads`: of the CPU that the engine has."""
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # a process may find all its shards done
        self.network = network.PixelNetwork(packed.model, packed.spec).to(memory_format=torch.channels_last)
        self._plan, self._packed, self._results, self._threads = plan, packed, results, threads

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return this process's batches in order, those of shards that are done left out."""
        mine = list(enumerate(self._results.sizes()))[self.trainer.global_rank :: self.trainer.world_size]
        open_shards = {shard: size for shard, size in mine if not self._results.is_done(shard, size)}
        return DataLoader(
            SpanDataset(open_shards, self._plan, self._packed, self._results),
            batch_size=None,
            num_workers=self._plan.workers,
            pin_memory=torch.cuda.is_available(),
        )

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
    def _engine(self) -> engines.Engine | None:
        """Compiled at the first batch, when the processes that decode have long been forked."""
        precision = ENGINE_PRECISIONS.get(self._plan.precision)
        if self.device.type != "cpu" or precision is None:
            return None
        return self._packed.engine(self._threads, precision)


class ShardWriter(pl.Callback):
    """Writes a shard as soon as its last batch is predicted, and shows the first process's progress.

    Not Lightning's BasePredictionWriter and bars, which count by its own sampler and by batches.
    """

    def __init__(self, results: Results, spec: ModelSpec) -> None:
        self.results, self.spec = results, spec
        self._logits: list[torch.Tensor] = []
        self._codes: list[str | None] = []
        columns = (progress.BarColumn(), progress.MofNCompleteColumn(), _Rate(), progress.TimeRemainingColumn())
        self._progress = progress.Progress("{task.description}", *columns)

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


class _Rate(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} images/s")


@dataclass(frozen=True)
class Summary:
    """A folder's images in all, and those that this run scored, with the seconds that it took."""

    pictures: int
    positive: int
    failed: int
    scored: int
    seconds: float

    @classmethod
    def of(cls, results: Results, positive_label: str, scored: int, seconds: float) -> Self:
        """Count what all shards hold."""
        files = [results.part(shard) for shard in range(len(results.sizes()))]
        parts = [parquet.read_table(file, columns=["prediction", "error"]) for file in files]
        rows = sum(part.num_rows for part in parts)
        positive = sum(compute.sum(compute.equal(part["prediction"], positive_label)).as_py() or 0 for part in parts)
        return cls(rows, positive, rows - sum(part["error"].null_count for part in parts), scored, seconds)

    def __str__(self) -> str:
        counts = f"{self.pictures:,} images: {self.positive:,} AI-generated, {self.failed:,} failed"
        if not self.scored:
            return f"{counts}; all were scored before"
        return f"{counts}; {self.scored:,} scored now, {self.scored / self.seconds:,.1f} images/s"


def run(plan: Plan) -> Summary | None:
    """Score what is not scored yet; return the figures in the first process, None in the others.

    Raises:
        StageError: The archive cannot be used, or the source cannot be used.
        StageError: The folder holds results of another list, model or setting.
    """
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        packed, results = read_packed(plan.archive, Path(folder)), Results(plan.out)
        trainer = pl.Trainer(
            **plan.trainer,
            callbacks=[ShardWriter(results, packed.spec)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        if trainer.is_global_zero:  # before Lightning starts the others, or while they wait for this one
            _prepare(plan, packed, results)
        begun, open_before = time.monotonic(), _open_pictures(results) if trainer.is_global_zero else 0
        module = ScoringModule(plan, packed, results, threads=max(1, engines.cpus() // max(1, trainer.num_devices)))
        trainer.predict(module, return_predictions=False)
        trainer.strategy.barrier("scored")  # the figures are of all processes' shards
    if not trainer.is_global_zero:
        return None
    return Summary.of(results, packed.spec.labels[1], open_before, time.monotonic() - begun)


def _prepare(plan: Plan, packed: Packed, results: Results) -> None:
    if packed.other_code:
        modules = ", ".join(packed.other_code)
        print(
            f"score: {plan.archive} was packed with different code ({modules}): predictions may differ", file=sys.stderr
        )
    terms = {
        "pictures_in": str(plan.pictures_in),
        "precision": plan.precision,
        "model_version": packed.spec.version,
        "model_sha256": packed.sha256,
    }
    results.prepare(plan.source, plan.shard_size, terms, restart=plan.restart)


def _open_pictures(results: Results) -> int:
    return sum(size for shard, size in enumerate(results.sizes()) if not results.is_done(shard, size))


@contextmanager
def _quiet() -> Iterator[None]:
    """Spare the reader warnings of few workers, of no work and of Lightning's own code as well."""
    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
        warnings.filterwarnings("ignore", message="Total length of `DataLoader` across ranks is zero")
        yield


def main() -> None:
    """Score from the command line."""
    plan = _parse()
    with refusals("score"):
        summary = run(plan)
    if summary is not None:
        print(f"{summary}; {plan.out}")


def _parse() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m training.scoring.score", description=__doc__)
    parser.add_argument("source", type=_path, help="a folder of images, or a .csv or .parquet file with a column path")
    parser.add_argument("--out", type=_path, required=True, help="folder for the results; a second run resumes there")
    parser.add_argument("--archive", type=Path, default=Paths().archive)
    parser.add_argument("--root", type=Path, help="folder that relative paths start at (default: the list's)")
    parser.add_argument("--batch-size", type=_count, default=Plan.batch_size)
    none, most = partial(_count, least=0), min(MOST_WORKERS, engines.cpus())
    parser.add_argument("--workers", type=none, default=most, help="decoding processes per process")
    parser.add_argument("--shard-size", type=_count, default=Plan.shard_size, help="images per result file")
    parser.add_argument("--restart", action="store_true", help="delete the folder's results first")
    lightning = parser.add_argument_group("Lightning's Trainer")
    lightning.add_argument("--accelerator", default="auto")
    lightning.add_argument("--devices", default="auto")
    lightning.add_argument("--num-nodes", type=_count, default=1)
    lightning.add_argument("--strategy", default="auto")
    lightning.add_argument("--precision", help="default: on CPUs what the service computes in, on GPUs 32-true")
    options = vars(parser.parse_args())
    names = ("accelerator", "devices", "num_nodes", "strategy", "precision")
    return Plan(trainer={name: options.pop(name) for name in names}, **options)


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("is empty: give a path, or . for the working directory")
    return Path(text)


def _count(text: str, least: int = 1) -> int:
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"must be {least} or more")
    return value


if __name__ == "__main__":
    main()
