"""How far an archive's engine is from PyTorch in float32 on the dev split: `python -m training.compare_engines`.

It ends with 1 where a probability differs by more than 0.01 or a verdict is another one.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.progress import track

from handler.cpus import cpus
from handler.decision import decide
from handler.engine import Engine
from handler.openvino_engine import PRECISIONS
from handler.spec import ModelSpec
from handler.torch_engine import TorchEngine
from handler.transforms import Pixels
from training.data import InvalidDataError, Photo, of_split, read_manifest
from training.package import MODEL_NAME
from training.paths import Paths
from training.scoring.archive import InvalidArchiveError, Packed, read_packed
from training.scoring.pictures import read_pixels

MOST_DIFFERENCE: Final = 0.01
"""Of a probability."""
BATCH: Final = 8


@dataclass(frozen=True)
class Difference:
    """Differences of probabilities, and how many verdicts are others, over so many photos."""

    largest: float
    mean: float
    verdicts: int
    photos: int

    @classmethod
    def of(cls, found: Sequence[float], expected: Sequence[float], spec: ModelSpec) -> Difference:
        """Compare logits with those that they should be, as what is served of them."""
        ours, theirs = ([decide(logit, spec) for logit in logits] for logits in (found, expected))
        apart = np.abs([one.probability - other.probability for one, other in zip(ours, theirs, strict=True)])
        verdicts = sum(one.prediction != other.prediction for one, other in zip(ours, theirs, strict=True))
        return cls(float(apart.max()), float(apart.mean()), verdicts, len(apart))

    @property
    def harmless(self) -> bool:
        """Whether it is small enough to serve without another evaluation."""
        return self.largest <= MOST_DIFFERENCE and not self.verdicts

    def __str__(self) -> str:
        return (
            f"probabilities differ by {self.largest:.4f} at most and {self.mean:.4f} on average, "
            f"{self.verdicts} of {self.photos} verdicts are others"
        )


def run(packed: Packed, precision: str, root: Path, photos: Sequence[Photo]) -> Difference:
    """Judge photos by the archive's graph and by PyTorch in float32 on the CPU.

    Raises:
        InvalidArchiveError: The archive has no graph.
        InvalidDataError: A photo cannot be judged.
    """
    served = packed.engine(cpus(), precision)
    eager = TorchEngine(packed.model, packed.spec, torch.device("cpu"))
    batches = list(
        track(_batches(packed.spec, root, photos), "reading", total=-(-len(photos) // BATCH), transient=True)
    )
    found, expected = (_logits(engine, batches) for engine in (served, eager))
    return Difference.of(found, expected, packed.spec)


def _batches(spec: ModelSpec, root: Path, photos: Sequence[Photo]) -> Iterator[list[Pixels]]:
    for start in range(0, len(photos), BATCH):
        yield [_pixels(root / photo.path, spec) for photo in photos[start : start + BATCH]]


def _pixels(file: Path, spec: ModelSpec) -> Pixels:
    pixels = read_pixels(file, spec)
    if isinstance(pixels, str):
        raise InvalidDataError(f"{file}: {pixels}")
    return pixels


def _logits(engine: Engine, batches: Sequence[list[Pixels]]) -> list[float]:
    return [
        forward.logit
        for pictures in track(batches, "judging", transient=True)
        for forward in engine.run(pictures, [False] * len(pictures))
    ]


def main() -> None:
    """Compare from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.compare_engines", description=__doc__)
    parser.add_argument("--archive", type=Path, default=Paths.store / f"{MODEL_NAME}.mar")
    parser.add_argument("--data", type=Path, default=Path("data/photos"), help="folder with a manifest.csv")
    parser.add_argument("--precision", choices=PRECISIONS, default="f32")
    arguments = parser.parse_args()
    try:
        photos = of_split(read_manifest(arguments.data, Path("manifest.csv")), "dev")
        with tempfile.TemporaryDirectory() as folder:
            difference = run(read_packed(arguments.archive, Path(folder)), arguments.precision, arguments.data, photos)
    except (InvalidArchiveError, InvalidDataError) as error:
        raise SystemExit(f"compare_engines: {error}") from error
    print(f"{arguments.precision}: {difference}")
    raise SystemExit(not difference.harmless)


if __name__ == "__main__":
    main()
