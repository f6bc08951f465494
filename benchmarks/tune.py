"""Find the settings of serving that suit this machine: `make tune`, which prints a table and writes var/tuned.yaml.

Each setting is tried by the whole product: its workers, the threads of each, and how many images TorchServe hands a
worker at a time. `taskset --cpu-list 0 make tune` tunes for one CPU; on a machine with a GPU, threads do not count.
"""

import argparse
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import torch
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import harness
from deploy.layout import ROOT
from deploy.local.versions import with_config
from deploy.torchserve.process import ARCHIVE

MOST: Final = 32
BATCHES: Final = (1, 4, 8)
GPU_BATCHES: Final = (8, 16, 32)
LONGER_MS: Final = 5
"""The delay that is tried with the best setting; the others have one of a millisecond."""
NEARLY: Final = 0.03
"""Rates that differ by no more than this share count as alike, and the answer to one client decides."""


@dataclass(frozen=True)
class Setting:
    """What can be chosen of serving."""

    workers: int
    threads: int
    batch: int
    delay_ms: int = 1

    def as_config(self) -> dict[str, int]:
        """The same in the words of an archive's model-config.yaml."""
        workers = {"minWorkers": self.workers, "maxWorkers": self.workers, "threads": self.threads}
        return workers | {"batchSize": self.batch, "maxBatchDelay": self.delay_ms}


@dataclass(frozen=True)
class Tried:
    """Results of a setting: images per second with the most clients, the p50 of one client, and memory, in MB."""

    setting: Setting
    per_s: harness.Spread
    p50_ms: harness.Spread
    memory: float


def settings(cpus: int, gpus: int) -> list[Setting]:
    """Return what is worth trying: a worker, two, or one a CPU; threads that share the CPUs out or have them all."""
    if gpus:
        return [Setting(workers * gpus, 1, batch) for workers in (1, 2) for batch in GPU_BATCHES]
    pairs = {(workers, threads) for workers in (1, 2, min(cpus, 8)) for threads in (math.ceil(cpus / workers), cpus)}
    return [Setting(workers, threads, batch) for workers, threads in sorted(pairs) for batch in BATCHES]


def best(tried: Sequence[Tried]) -> Tried:
    """Return the fastest; of those nearly as fast the one that answers one client soonest."""
    fastest = max(one.per_s.mean for one in tried)
    near = [one for one in tried if one.per_s.mean >= fastest * (1 - NEARLY)]
    return min(near, key=lambda one: one.p50_ms.mean)


def table(tried: Sequence[Tried], chosen: Tried) -> Table:
    """Every setting with its figures, the chosen one marked."""
    grid = Table("workers", "threads", "batch", "delay ms", f"images/s, {MOST} clients", "p50 ms, 1 client", "MB", "")
    for one in tried:
        grid.add_row(
            *map(str, [*asdict(one.setting).values(), one.per_s, one.p50_ms]),
            f"{one.memory:,.0f}",
            "chosen" if one is chosen else "",
        )
    return grid


def try_out(setting: Setting, photo: bytes, archive: Path, rounds: int, seconds: float) -> Tried:
    """Start the product with a setting, measure it, and stop it."""
    with tempfile.TemporaryDirectory() as folder:
        layout = harness.BenchLayout(var=Path(folder) / "var", store=Path(folder) / "store")
        layout.var.mkdir()
        layout.store.mkdir()
        with_config(archive, layout.store / ARCHIVE, setting.as_config())
        shutil.copy(archive.parent / "reference.json", layout.store)
        with harness.product(photo, layout) as (_, gateway):
            _ask(gateway, MOST, seconds)
            many = harness.Spread.of(_ask(gateway, MOST, seconds).per_s for _ in range(rounds))
            one = harness.Spread.of(_ask(gateway, 1, seconds / 2).percentile(50) for _ in range(rounds))
            return Tried(setting, many, one, harness.memory_mb(gateway.processes))


def main() -> None:
    """Try all settings, then the best of them with a longer delay."""
    parser = argparse.ArgumentParser(prog="make tune", description=__doc__)
    parser.add_argument("--photo", choices=harness.SIZES, default="100kB", help="about how large the image is")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--store", type=Path, default=ROOT / "model_store", help="folder of the archive to tune")
    parser.add_argument("--out", type=Path, default=ROOT / "var/tuned.yaml")
    arguments = parser.parse_args()
    photo, archive = harness.sample(arguments.photo), arguments.store / ARCHIVE
    measured = partial(try_out, photo=photo, archive=archive, rounds=arguments.rounds, seconds=arguments.seconds)
    cpus = len(os.sched_getaffinity(0))
    tried = [measured(each) for each in track(settings(cpus, torch.cuda.device_count()), "trying settings")]
    tried.append(measured(replace(best(tried).setting, delay_ms=LONGER_MS)))
    chosen = best(tried)
    console = Console()
    console.print(table(tried, chosen))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(yaml.safe_dump(chosen.setting.as_config(), sort_keys=False), encoding="utf-8")
    console.print(
        f"{cpus} CPUs; mean ± sd of {arguments.rounds} rounds. {arguments.out} has the chosen setting. Pack it as a "
        f"version of its own and make that live:\n  python -m training.repack VERSION --serving {arguments.out}\n"
        "  make promote VERSION=VERSION",
        soft_wrap=True,
    )


def _ask(stack: harness.Stack, clients: int, seconds: float) -> harness.Load:
    return harness.measure_for(stack.port, stack.requests[harness.PREDICT], seconds=seconds, connections=clients)


if __name__ == "__main__":
    main()
