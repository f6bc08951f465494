"""Score a catalogue in bulk, by the archive that is served: `python -m training.scoring.score SOURCE --out FOLDER`."""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytorch_lightning as pl
from lightning_fabric.utilities.warnings import PossibleUserWarning

from handler.engines import AUTO, cpus
from training.files import Paths, refusals
from training.model.predict import quiet
from training.package import MODEL_NAME
from training.scoring.archive import Packed, read_packed
from training.scoring.module import ScoringModule, ShardDataModule, ShardWriter, Summary
from training.scoring.results import Results

MOST_WORKERS: Final = 8
"""Decoding processes, if the user names no number."""


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


def run(plan: Plan) -> Summary | None:
    """Score what is not scored yet; return the figures in the first process, None in the others.

    Raises:
        StageError: The archive cannot be used, or the source cannot be used.
        StageError: The folder holds results of another list, model or setting.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _run(plan, read_packed(plan.archive, Path(folder)))


def _run(plan: Plan, packed: Packed) -> Summary | None:
    results = Results(plan.out)
    data = ShardDataModule(results, plan.pictures_in, packed.spec, plan.batch_size, plan.workers)
    with _quiet():
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
        threads = max(1, cpus() // max(1, trainer.num_devices))
        module = ScoringModule(packed, _precision(plan), threads)
        trainer.predict(module, datamodule=data, return_predictions=False)
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
        "precision": _precision(plan),
        "model_version": packed.spec.version,
        "model_sha256": packed.sha256,
    }
    results.prepare(plan.source, plan.shard_size, terms, restart=plan.restart)


def _precision(plan: Plan) -> str:
    return str(plan.trainer.get("precision") or AUTO)


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
    parser.add_argument("--archive", type=Path, default=Paths.store / f"{MODEL_NAME}.mar")
    parser.add_argument("--root", type=Path, help="folder that relative paths start at (default: the list's)")
    parser.add_argument("--batch-size", type=_count, default=Plan.batch_size)
    none, most = partial(_count, least=0), min(MOST_WORKERS, cpus())
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
