"""How far an archive's engine is from PyTorch in float32 on dev: `python -m training.scoring.compare_engines`.

It ends with 1 where AUROC or the calibration error differs by more than serving may cost; single probabilities of
bfloat16 and int8 are never quite those of float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch

from handler import engines, network
from handler.spec import ModelSpec
from training.data.manifest import Photo
from training.evaluation.figures import calibration_error, ranking, score
from training.model.predict import Served, logits_by
from training.scoring.archive import Packed, archive_and_dev

MOST_AUROC: Final = 0.002
MOST_CALIBRATION_ERROR: Final = 0.01


@dataclass(frozen=True)
class Difference:
    """AUROC and calibration error less PyTorch's, a probability's largest distance, and how many verdicts differ."""

    auroc: float
    calibration_error: float
    largest: float
    verdicts: int
    photos: int

    @classmethod
    def of(cls, photos: Sequence[Photo], found: torch.Tensor, expected: torch.Tensor, spec: ModelSpec) -> Self:
        """Compare logits with those that they should be, as what is served of them."""
        ours, theirs = (score(photos, logits, spec) for logits in (found, expected))
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
        StageError: An image cannot be decoded.
    """
    served = packed.engine(engines.cpus(), precision)
    eager = network.TorchEngine(packed.model, packed.spec, torch.device("cpu"))
    found, expected = (logits_by(engine, Served(root, packed.spec, photos)) for engine in (served, eager))
    return Difference.of(photos, found, expected, packed.spec)


def main() -> None:
    """Compare from the command line."""
    precisions = (engines.AUTO, *engines.PRECISIONS)
    with archive_and_dev("compare_engines", __doc__, precisions) as (packed, arguments, photos):
        difference = run(packed, arguments.precision, arguments.data, photos)
    print(f"{arguments.precision}: {difference}")
    raise SystemExit(not difference.harmless)


if __name__ == "__main__":
    main()
