"""How close bulk scoring comes to what the machine can do in one process: `python -m benchmarks.score`."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import ceiling
from benchmarks.ceiling import Ceiling
from benchmarks.gateway import SIZES, sample
from benchmarks.report import Spread
from stack.layout import ROOT
from stack.torchserve import ARCHIVE

GOAL: Final = 0.9
"""Of the ceiling."""


class ScoreError(RuntimeError):
    """Scoring failed; what it said is above."""


def main() -> None:
    """Run the benchmark from the command line."""
    arguments = _parse()
    photo = sample(arguments.photo)
    print(f"{arguments.pictures:,} copies of a JPEG of {len(photo) / 1000:.0f} kB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(photo, arguments.pictures, folder / "photos")
        ceiling.unpack(arguments.archive, folder / "unpacked")
        with ceiling.pools(folder / "unpacked", photo, os.environ) as pools:
            best = Ceiling.find(pools, arguments.seconds / 4).together
            scored, at_best = list[float](), list[float]()
            for turn in range(arguments.rounds):  # in turns, so that what else the machine does hits both
                at_best.append(best.pool.judge(best.batch, arguments.seconds).per_s)
                words = ["--archive", str(arguments.archive), *arguments.score]
                scored.append(score(folder / "photos", folder / f"out-{turn}", words))
    print(verdict(scored, at_best, str(best)))


def copy(photo: bytes, number: int, folder: Path) -> None:
    """Make a catalogue of one photo under many names."""
    folder.mkdir()
    first = folder / "0.jpg"
    first.write_bytes(photo)
    for index in range(1, number):
        (folder / f"{index}.jpg").hardlink_to(first)


def score(photos: Path, out: Path, words: Sequence[str]) -> float:
    """Score a folder with the command and return the images per second that it reports.

    Raises:
        ScoreError: It failed.
    """
    command = [sys.executable, "-m", "training.score", str(photos), "--out", str(out), *words]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own words
    found = re.search(r"([\d,.]+) pictures/s; ", done.stdout)
    if done.returncode or not found:
        raise ScoreError(f"training.score ended with {done.returncode}")
    return float(found[1].replace(",", ""))


def verdict(scored: Sequence[float], at_best: Sequence[float], ceiling_with: str) -> str:
    """Put both rates side by side, and their ratio within each round."""
    ratio = Spread.of(one / best for one, best in zip(scored, at_best, strict=True))
    outcome = "met" if ratio.mean >= GOAL else "missed"
    return (
        f"scoring {Spread.of(scored)} pictures/s, in-process ceiling {Spread.of(at_best)} ({ceiling_with}): "
        f"{ratio} of it, n = {ratio.n} rounds, mean ± sd. At least {GOAL:g}: {outcome}"
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score", description=__doc__)
    parser.add_argument("--archive", type=Path, default=ROOT / "model_store" / ARCHIVE)
    parser.add_argument("--photo", choices=SIZES, default="100kB", help="about how large each picture is")
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="how long the ceiling is measured in a round")
    parser.add_argument("score", nargs="*", help="arguments of training.score, after --")
    return parser.parse_args()


if __name__ == "__main__":
    main()
