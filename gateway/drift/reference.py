"""What scores and images usually look like, a service's own first ones or the model's, and how far a window is from it.

Each check is a score of one column of the window, and the limit that chance may take it to.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, Final, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.schemas import DriftCheck, InputName
from gateway.settings import Settings

Floats = npt.NDArray[np.float64]

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_log = structlog.get_logger()
Share = Annotated[float, Field(ge=0, le=1)]
QUANTILES: Final = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Of what is learned, with the least and the greatest value; the file that ships has no such."""
EDGES: Final = tuple(round(number / 10, 1) for number in range(11))
"""Of a histogram, if a reference has none."""
SIZES: Final = frozenset({"width", "height", "megapixels"})
"""Inputs in which many images share a value, so that quantiles do not tell the bins that PSI needs."""


class _Part(BaseModel):
    # The file also says how each number is taken; people read that.
    model_config = ConfigDict(frozen=True, protected_namespaces=(), allow_inf_nan=False)


class Distribution(_Part):
    """One statistic over the reference's images; the quantiles are keyed by their probability."""

    mean: float
    std: float = Field(ge=0)
    quantiles: dict[Share, float] = Field(min_length=3)
    n: int | None = Field(default=None, ge=2, description="Images, if not all of the reference's.")


class _Ratio(_Part):
    value: Share


class Histogram(_Part):
    """Shares of the scores in bins over 0..1; a bin holds its lower edge, the last one also its upper."""

    edges: tuple[Share, ...] = Field(min_length=2)
    share: tuple[Share, ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.share) != len(self.edges) - 1 or any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("want rising edges and a share for each bin between them")
        return self


class Scores(Distribution):
    """The model's probabilities and what followed from them."""

    ai_generated_ratio: _Ratio
    low_confidence_ratio: _Ratio
    histogram: Histogram | None = None


class Reference(_Part):
    """Statistics of `n` images: those that a model version was calibrated on, or the first that it predicted here."""

    model_version: str = Field(min_length=1)
    n: int = Field(ge=2)
    scores: Scores
    inputs: dict[InputName, Distribution]
    since: datetime | None = Field(default=None, description="When it was learned; none of the one that shipped.")


def learn(version: str, columns: Mapping[str, Floats], minimum: int) -> Reference:
    """Make a reference of a window's columns; inputs that too few images were measured for are left out."""
    scores = columns["probability"]
    counts, _ = np.histogram(scores, bins=EDGES)
    return Reference(
        model_version=version,
        n=scores.size,
        scores=Scores(
            **_summary(scores),
            ai_generated_ratio=_Ratio(value=float(columns["ai_generated"].mean())),
            low_confidence_ratio=_Ratio(value=float(columns["low_confidence"].mean())),
            histogram=Histogram(edges=EDGES, share=tuple((counts / scores.size).tolist())),
        ),
        inputs={
            name: Distribution(**_summary(columns[name]))
            for name in get_args(InputName)
            if name in columns and columns[name].size >= minimum
        },
        since=datetime.now(UTC).replace(microsecond=0),
    )


def _summary(values: Floats) -> dict[str, Any]:
    points = np.quantile(values, QUANTILES)
    quantiles = dict(zip(QUANTILES, points.tolist(), strict=True))
    return {"mean": float(values.mean()), "std": float(values.std()), "quantiles": quantiles, "n": values.size}


def read_reference(path: Path) -> Reference | None:
    """The reference in a file, or None, with a warning in the log, when there is none that can be read."""
    try:
        return Reference.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        _log.warning("no_drift_reference", file=str(path), cause=type(error).__name__)
        return None


class Check(NamedTuple):
    """One score and its limit; `limit` takes the chance of a false alarm and the column."""

    name: str
    column: str
    score: Callable[[Floats], float]
    limit: Callable[[float, Floats], float]
    floor: float

    def run(self, columns: Mapping[str, Floats], alpha: float, minimum: int) -> DriftCheck:
        """Score a column that holds enough values."""
        values = columns.get(self.column, np.empty(0))
        if values.size < minimum:
            return DriftCheck(name=self.name, score=None, threshold=None, samples=values.size, alert=False)
        score, threshold = self.score(values), max(self.floor, self.limit(alpha, values))
        return DriftCheck(
            name=self.name,
            score=round(score, 6),
            threshold=round(threshold, 6),
            samples=values.size,
            alert=score > threshold,
        )


def plan(reference: Reference) -> list[Check]:
    """All checks that a reference allows."""
    n = reference.n
    checks = score_plan(reference)
    for name, found in reference.inputs.items():
        checks += _shape(name, found, found.n or n)
    if ranges := ranges_of(reference):
        # Images such as the reference has none: a few tell of another source long before all quantiles move. The least
        # and the greatest of n values are passed by 2 of n + 1 further ones; the inputs are not independent.
        least = min(found.n or n for found in reference.inputs.values())
        share = min(1.0, 2 * len(ranges) / (least + 1))
        outside = _share("outside", share, least, Settings.drift_min_change / 2)
        checks.append(outside._replace(score=partial(mean_excess, mean=share)))
    return checks


def score_plan(reference: Reference) -> list[Check]:
    """Those of scores and predictions alone."""
    scores, n, floor = reference.scores, reference.n, Settings.drift_min_change
    mean_chance = partial(mean_limit, reference_std=scores.std, reference_size=n)
    std_chance = partial(std_limit, reference_std=scores.std, reference_size=n)
    return [
        Check("probability_mean", "probability", partial(mean_change, mean=scores.mean), mean_chance, floor),
        Check("probability_std", "probability", partial(std_change, std=scores.std), std_chance, floor),
        *_shape("probability", scores, n),
        _share("ai_generated", scores.ai_generated_ratio.value, n, floor),
        _share("low_confidence", scores.low_confidence_ratio.value, n, floor),
    ]


def ranges_of(reference: Reference) -> dict[InputName, tuple[float, float]]:
    """The least and the greatest of a reference's inputs, where it has them."""
    inputs = {name: found.quantiles for name, found in reference.inputs.items()}
    return {name: (points[0.0], points[1.0]) for name, points in inputs.items() if {0.0, 1.0} <= points.keys()}


def _share(column: str, share: float, n: int, floor: float) -> Check:
    chance = partial(share_limit, reference_share=share, reference_size=n)
    return Check(f"{column}_ratio", column, partial(mean_change, mean=share), chance, floor)


def _shape(column: str, found: Distribution, n: int) -> list[Check]:
    distance, chance = partial(ks, quantiles=found.quantiles), partial(ks_limit, reference_size=n)
    checks = [Check(f"{column}_ks", column, distance, chance, Settings.drift_min_ks)]
    if column not in SIZES and (between := bins(found.quantiles)):
        edges, shares = between
        score, chance = (
            partial(psi, edges=edges, shares=shares),
            partial(psi_limit, bin_count=shares.size, reference_size=n),
        )
        checks.append(Check(f"{column}_psi", column, score, chance, Settings.drift_min_psi))
    return checks


def mean_change(values: Floats, mean: float) -> float:
    """How far a mean is from the reference's; of zeros and ones it is a share."""
    return abs(float(values.mean()) - mean)


def mean_excess(values: Floats, mean: float) -> float:
    """How far a mean is above the reference's."""
    return max(0.0, float(values.mean()) - mean)


def std_change(values: Floats, std: float) -> float:
    """How far a standard deviation is from the reference's."""
    return abs(float(values.std()) - std)


def ks(values: Floats, quantiles: Mapping[float, float]) -> float:
    """The Kolmogorov-Smirnov distance as far as quantiles can show it; values that repeat do not blow it up.

    At a quantile q of probability p at least p of the reference is at or below q, and at most p of it is below.
    """
    ordered = np.sort(values)
    shares, points = _columns(quantiles)
    below = np.searchsorted(ordered, points, side="left") / values.size
    up_to = np.searchsorted(ordered, points, side="right") / values.size
    return max(0.0, float((shares - up_to).max()), float((below - shares).max()))


def ks_limit(alpha: float, values: Floats, reference_size: int) -> float:
    """The two-sample limit of Massart's inequality, plus what interpolated and rounded quantiles may add."""
    return math.sqrt(math.log(2 / alpha) / 2 * _noise(values, reference_size)) + 2 / reference_size


def bins(quantiles: Mapping[float, float]) -> tuple[Floats, Floats] | None:
    """Inner edges and the reference's shares of the bins between deciles, or None when too many deciles are equal.

    Equal deciles are a value that many share; how many of them are on which side of it, quantiles do not say.
    """
    shares, points = _columns({share: point for share, point in quantiles.items() if share in DECILES})
    alone = [int((points == point).sum()) == 1 for point in points]
    shares, points = shares[alone], points[alone]
    if points.size < 2:  # noqa: PLR2004 - fewer than three bins tell nothing that the other scores do not
        return None
    return points, np.diff(shares, prepend=0.0, append=1.0)


def psi(values: Floats, edges: Floats, shares: Floats) -> float:
    """The population stability index over bins; half a value more in each bin keeps an empty one finite."""
    counts = np.bincount(np.searchsorted(edges, values), minlength=shares.size) + 0.5
    found = counts / counts.sum()
    return float(((found - shares) * np.log(found / shares)).sum())


def psi_limit(alpha: float, values: Floats, reference_size: int, bin_count: int) -> float:
    """Chi-square with one degree less than bins, times both samples' noise (Yurdakul 2018; Wilson and Hilferty)."""
    degrees = bin_count - 1
    spread = 2 / (9 * degrees)
    chi_square = degrees * (1 - spread + NormalDist().inv_cdf(1 - alpha) * math.sqrt(spread)) ** 3
    return chi_square * _noise(values, reference_size)


def share_limit(alpha: float, values: Floats, reference_share: float, reference_size: int) -> float:
    """How far two shares may be apart: pooled, with one more of each kind, and corrected for being counts."""
    noise = _noise(values, reference_size)
    pooled = (float(values.sum()) + reference_share * reference_size + 1) / (values.size + reference_size + 2)
    return _two_sided(alpha) * math.sqrt(pooled * (1 - pooled) * noise) + noise / 2


def mean_limit(alpha: float, values: Floats, reference_std: float, reference_size: int) -> float:
    """How far two means may be apart, by the central limit theorem."""
    return _two_sided(alpha) * math.sqrt(values.var() / values.size + reference_std**2 / reference_size)


def std_limit(alpha: float, values: Floats, reference_std: float, reference_size: int) -> float:
    """How far two standard deviations of values in 0..1 may be apart, by the delta method.

    A small sample's own fourth moment would miss rare values, so the largest possible one stands in for it.
    """
    variance = (values.var() * values.size + reference_std**2 * reference_size) / (values.size + reference_size)
    if variance == 0:
        return 0.0
    mean = float(values.mean())
    farthest = max(mean, 1 - mean) ** 2
    error = math.sqrt(max(0.0, farthest / variance - 1)) * math.sqrt(variance) / 2
    return _two_sided(alpha) * error * math.sqrt(_noise(values, reference_size))


def _two_sided(alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha / 2)


def _noise(values: Floats, reference_size: int) -> float:
    return 1 / values.size + 1 / reference_size


def _columns(quantiles: Mapping[float, float]) -> Floats:
    """Probabilities and quantiles, two rows in rising order."""
    return np.array(sorted(quantiles.items())).T
