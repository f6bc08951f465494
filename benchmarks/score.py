"""How close bulk scoring comes to what the machine can do in one process: `python -m benchmarks.score`."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import psutil
import yaml

from benchmarks.harness import SIZES, Load, Spread, sample
from deploy.layout import ROOT, StackError
from deploy.torchserve.process import ARCHIVE

SCRIPT: Final = ROOT / "benchmarks/inprocess.py"
BATCHES: Final = (1, 2, 4, 8)
GOAL: Final = 0.9
"""Of the ceiling."""


@dataclass(frozen=True)
class Pool:
    """Processes with the handler loaded, how many threads each has, and the seconds to the first image of all."""

    processes: list[psutil.Popen]
    threads: int
    start_s: float

    def predict(self, batch: int, seconds: float, processes: int | None = None) -> Load:
        """Predict batches for a time on all or some processes; the rate is that of images."""
        asked = self.processes[:processes]
        for process in asked:
            process.stdin.write(f"{batch} {seconds}\n")
            process.stdin.flush()
        took = [json.loads(_line(process)) for process in asked]
        rate = sum(batch * len(latencies) / (sum(latencies) / 1000) for latencies in took)
        return Load([latency for latencies in took for latency in latencies], rate)


@dataclass(frozen=True)
class Best:
    """A pool and its fastest batch size."""

    pool: Pool
    batch: int

    def __str__(self) -> str:
        return f"{len(self.pool.processes)} x {self.pool.threads} threads, batches of {self.batch}"


def ceiling(pools: list[Pool], seconds: float) -> tuple[Best, Best]:
    """Try every pool and batch size; return the best of many images together, and of one alone in one process."""
    for pool in pools:
        pool.predict(max(BATCHES), 0.01)
    tried = [Best(pool, batch) for pool in pools for batch in BATCHES]
    together = max(tried, key=lambda best: best.pool.predict(best.batch, seconds).per_s)
    return together, Best(max(pools, key=lambda pool: pool.predict(1, seconds, processes=1).per_s), 1)


def unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Unpack a model archive and return the model's description from its configuration."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
        return dict(yaml.safe_load(packed.read("model-config.yaml"))["spec"])


@contextmanager
def pools(folder: Path, photo: bytes, environment: dict[str, str]) -> Iterator[list[Pool]]:
    """Start the unpacked archive's handler as one process with a thread a core, and as one process a core.

    Raises:
        StackError: One of them ends.
    """
    image = folder / "photo.jpg"
    image.write_bytes(photo)
    cores, pipe = psutil.cpu_count() or 1, subprocess.PIPE
    with ExitStack() as opened:
        found = []
        for processes, threads in dict.fromkeys([(1, cores), (cores, 1)]):
            command = [sys.executable, "-P", str(SCRIPT), str(folder), str(image), str(threads)]
            own, started = environment | {"PYTHONPATH": str(folder)}, perf_counter()
            running = [
                opened.enter_context(psutil.Popen(command, cwd=folder, env=own, stdin=pipe, stdout=pipe, text=True))
                for _ in range(processes)
            ]  # whose end is that of their input
            for process in running:
                _line(process)
            found.append(Pool(running, threads, perf_counter() - started))
        yield found


def _line(process: psutil.Popen) -> str:
    line: str = process.stdout.readline()
    if not line:
        raise StackError("the handler's process ended; see its output above")
    return line


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score", description=__doc__)
    parser.add_argument("--archive", type=Path, default=ROOT / "model_store" / ARCHIVE)
    parser.add_argument("--photo", choices=SIZES, default="100kB", help="about how large each image is")
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="how long the ceiling is measured in a round")
    parser.add_argument("score", nargs="*", help="arguments of training.scoring.score, after --")
    arguments = parser.parse_args()
    photo = sample(arguments.photo)
    print(f"{arguments.pictures:,} copies of a JPEG of {len(photo) / 1000:.0f} kB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        (folder / "photos/0.jpg").write_bytes(photo)
        for index in range(1, arguments.pictures):
            (folder / f"photos/{index}.jpg").hardlink_to(folder / "photos/0.jpg")
        unpack(arguments.archive, folder / "unpacked")
        with pools(folder / "unpacked", photo, dict(os.environ)) as started:
            best, _ = ceiling(started, arguments.seconds / 4)
            scored, at_best = list[float](), list[float]()
            for turn in range(arguments.rounds):  # in turns, so that what else the machine does hits both
                at_best.append(best.pool.predict(best.batch, arguments.seconds).per_s)
                words = ["--archive", str(arguments.archive), *arguments.score]
                scored.append(score(folder / "photos", folder / f"out-{turn}", words))
    ratio = Spread.of(one / other for one, other in zip(scored, at_best, strict=True))
    outcome = "met" if ratio.mean >= GOAL else "missed"
    print(
        f"scoring {Spread.of(scored)} images/s, in-process ceiling {Spread.of(at_best)} ({best}): "
        f"{ratio} of it, n = {ratio.n} rounds, mean ± sd. At least {GOAL:g}: {outcome}"
    )


def score(images: Path, out: Path, words: Sequence[str]) -> float:
    """Score a folder with the command and return the images per second that it reports.

    Raises:
        StackError: It failed.
    """
    command = [sys.executable, "-m", "training.scoring.score", str(images), "--out", str(out), *words]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own words
    found = re.search(r"([\d,.]+) images/s; ", done.stdout)
    if done.returncode or not found:
        raise StackError(f"training.scoring.score ended with {done.returncode}")
    return float(found[1].replace(",", ""))


if __name__ == "__main__":
    main()
