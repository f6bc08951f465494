"""How far an archive's engine is from PyTorch in float32 on dev: `python -m training.scoring.compare_engines`.

It ends with 1 where AUROC or the calibration error differs by more than serving may cost; single probabilities of
bfloat16 and int8 are never quite those of float32.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from rich.progress import track

from handler.engines import AUTO, PRECISIONS, Engine, cpus
from handler.network import TorchEngine
from handler.spec import ModelSpec
from handler.transforms import Pixels
from training.data.manifest import Photo
from training.evaluation.figures import calibration_error, ranking, score
from training.files import StageError
from training.scoring.archive import Packed, measure_on_dev
from training.scoring.results import read_pixels

MOST_AUROC: Final = 0.002
MOST_CALIBRATION_ERROR: Final = 0.01
BATCH: Final = 8


@dataclass(frozen=True)
class Difference:
    """What an engine's logits cost over so many images.

    Attributes:
        auroc: Engine's less PyTorch's.
        calibration_error: The same, expected calibration error.
        largest: Of a probability.
        verdicts: How many predictions differ.
        photos: Of how many.
    """

    auroc: float
    calibration_error: float
    largest: float
    verdicts: int
    photos: int

    @classmethod
    def of(cls, photos: Sequence[Photo], found: Sequence[float], expected: Sequence[float], spec: ModelSpec) -> Self:
        """Compare logits with those that they should be, as what is served of them."""
        ours, theirs = (score(photos, torch.tensor(logits), spec) for logits in (found, expected))
        even = np.ones((1, len(photos)))
        auroc, other_auroc = (float(ranking(scored, even)["auroc"][0]) for scored in (ours, theirs))
        error, other_error = (float(calibration_error(scored, even)[0]) for scored in (ours, theirs))
        apart = float(np.abs(ours.probabilities - theirs.probabilities).max())
        verdicts = int((ours.flagged != theirs.flagged).sum())
        return cls(_less(auroc, other_auroc), _less(error, other_error), apart, verdicts, len(photos))

    @property
    def harmless(self) -> bool:
        """Whether it is small enough to serve by the figures of PyTorch."""
        return abs(self.auroc) <= MOST_AUROC and abs(self.calibration_error) <= MOST_CALIBRATION_ERROR

    def __str__(self) -> str:
        return (
            f"AUROC differs by {self.auroc:+.4f} and calibration error by {self.calibration_error:+.4f}, "
            f"probabilities by {self.largest:.4f} at most, {self.verdicts} of {self.photos} predictions differ"
        )


def _less(one: float, other: float) -> float:
    """Return the difference to four decimals, and never a negative zero."""
    return round(one - other, 4) + 0.0


def run(packed: Packed, precision: str, root: Path, photos: Sequence[Photo]) -> Difference:
    """Predict images with the archive's graph and with PyTorch in float32 on the CPU.

    Raises:
        StageError: The archive has no graph, or an image cannot be decoded.
    """
    served = packed.engine(cpus(), precision)
    eager = TorchEngine(packed.model, packed.spec, torch.device("cpu"))
    pixels = [_pixels(root / photo.path, packed.spec) for photo in track(photos, "reading", transient=True)]
    batches = [pixels[start : start + BATCH] for start in range(0, len(photos), BATCH)]
    found, expected = (_logits(engine, batches) for engine in (served, eager))
    return Difference.of(photos, found, expected, packed.spec)


def _pixels(file: Path, spec: ModelSpec) -> Pixels:
    pixels = read_pixels(file, spec)
    if isinstance(pixels, str):
        raise StageError(f"{file}: {pixels}")
    return pixels


def _logits(engine: Engine, batches: Sequence[list[Pixels]]) -> list[float]:
    return [
        forward.logit
        for pictures in track(batches, "predicting", transient=True)
        for forward in engine.run(pictures, [False] * len(pictures))
    ]


def _compare(packed: Packed, arguments: argparse.Namespace, photos: Sequence[Photo]) -> tuple[str, Difference]:
    return arguments.precision, run(packed, arguments.precision, arguments.data, photos)


def main() -> None:
    """Compare from the command line."""
    precision, difference = measure_on_dev("compare_engines", __doc__, _compare, (AUTO, *PRECISIONS))
    print(f"{precision}: {difference}")
    raise SystemExit(not difference.harmless)


if __name__ == "__main__":
    main()
