"""The in-process ceiling: the handler that ships, with the processes, threads and batches that suit it best."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import psutil
import yaml

from benchmarks.figures import Burst
from stack.layout import ROOT

SCRIPT: Final = ROOT / "benchmarks/inprocess.py"
BATCHES: Final = (1, 2, 4, 8)


class CeilingError(RuntimeError):
    """The handler does not run in a process of its own."""


@dataclass(frozen=True)
class Pool:
    """Processes with the handler loaded, how many threads each has, and the seconds to the first image of all."""

    processes: list[psutil.Popen]
    threads: int
    start_s: float

    def judge(self, batch: int, seconds: float, processes: int | None = None) -> Burst:
        """Predict batches for a time on all or some processes; an image counts as a request."""
        asked = self.processes[:processes]
        for process in asked:
            process.stdin.write(f"{batch} {seconds}\n")
            process.stdin.flush()
        took = [json.loads(_line(process)) for process in asked]
        rate = sum(batch * len(latencies) / (sum(latencies) / 1000) for latencies in took)
        return Burst([latency for latencies in took for latency in latencies], rate)


@dataclass(frozen=True)
class Best:
    """A pool and its fastest batch size."""

    pool: Pool
    batch: int

    def __str__(self) -> str:
        return f"{len(self.pool.processes)} x {self.pool.threads} threads, batches of {self.batch}"


@dataclass(frozen=True)
class Ceiling:
    """What this machine can reach: many images together, and one alone."""

    together: Best
    alone: Best

    @classmethod
    def find(cls, pools: list[Pool], seconds: float) -> Ceiling:
        """Try every pool with every batch size; alone is one process with one image at a time."""
        for pool in pools:
            pool.judge(max(BATCHES), 0.01)
        tried = [Best(pool, batch) for pool in pools for batch in BATCHES]
        together = max(tried, key=lambda best: best.pool.judge(best.batch, seconds).per_s)
        alone = max(pools, key=lambda pool: pool.judge(1, seconds, processes=1).per_s)
        return cls(together, Best(alone, 1))


def unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Unpack a model archive and return the model's description from its configuration."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
        spec: dict[str, Any] = yaml.safe_load(packed.read("model-config.yaml"))["spec"]
        return spec


@contextmanager
def pools(folder: Path, photo: bytes, environment: Mapping[str, str]) -> Iterator[list[Pool]]:
    """Start the unpacked archive's handler as one process with a thread a core, and as one process a core.

    Raises:
        CeilingError: One of them ends.
    """
    picture = folder / "photo.jpg"
    picture.write_bytes(photo)
    cores = psutil.cpu_count() or 1
    with ExitStack() as opened:
        yield [
            opened.enter_context(_pool(folder, picture, environment, processes, threads))
            for processes, threads in dict.fromkeys([(1, cores), (cores, 1)])
        ]


@contextmanager
def _pool(folder: Path, picture: Path, environment: Mapping[str, str], processes: int, threads: int) -> Iterator[Pool]:
    command = [sys.executable, "-P", str(SCRIPT), str(folder), str(picture), str(threads)]
    started = perf_counter()
    with ExitStack() as opened:
        running = [opened.enter_context(_process(command, environment, folder)) for _ in range(processes)]
        for process in running:
            _line(process)
        yield Pool(running, threads, perf_counter() - started)


@contextmanager
def _process(command: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[psutil.Popen]:
    with psutil.Popen(
        command,
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _line(process: psutil.Popen) -> str:
    line: str = process.stdout.readline()
    if not line:
        raise CeilingError("the handler's process ended; see its output above")
    return line
