"""How far an archive's engine is from PyTorch in float32 on dev: `python -m training.scoring.compare_engines`.

It ends with 1 where AUROC or the calibration error differs by more than serving may cost; single probabilities of
bfloat16 and int8 are never quite those of float32.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
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
from training.data.manifest import InvalidDataError, Photo, of_split, read_manifest
from training.evaluation.figures import calibration_error, ranking, score
from training.files import Paths
from training.package import MODEL_NAME
from training.scoring.archive import InvalidArchiveError, Packed, read_packed
from training.scoring.results import read_pixels

MOST_AUROC: Final = 0.002
MOST_CALIBRATION_ERROR: Final = 0.01
BATCH: Final = 8


@dataclass(frozen=True)
class Difference:
    """What an engine's logits cost over so many photos.

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
        InvalidArchiveError: The archive has no graph.
        InvalidDataError: An image cannot be decoded.
    """
    served = packed.engine(cpus(), precision)
    eager = TorchEngine(packed.model, packed.spec, torch.device("cpu"))
    batches = list(
        track(_batches(packed.spec, root, photos), "reading", total=-(-len(photos) // BATCH), transient=True)
    )
    found, expected = (_logits(engine, batches) for engine in (served, eager))
    return Difference.of(photos, found, expected, packed.spec)


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
    parser = argparse.ArgumentParser(prog="python -m training.scoring.compare_engines", description=__doc__)
    parser.add_argument("--archive", type=Path, default=Paths.store / f"{MODEL_NAME}.mar")
    parser.add_argument("--data", type=Path, default=Path("data/photos"), help="folder with a manifest.csv")
    parser.add_argument("--precision", choices=[AUTO, *PRECISIONS], default=AUTO)
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
