"""The drift checks: each a score of one column of the window, and the limit that chance may take it to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from gateway.drift import reference as statistics
from gateway.drift.reference import Distribution, Floats, Reference
from gateway.drift.store import Sample
from gateway.schemas import DriftCheck

SIZES: Final = frozenset({"width", "height", "megapixels"})
"""Inputs in which many pictures share a value, so that quantiles do not tell the bins that PSI needs."""


@dataclass(frozen=True)
class Floors:
    """Differences too small to matter, however sure they are."""

    psi: float
    ks: float
    change: float


@dataclass(frozen=True)
class Check:
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


def columns_of(samples: Sequence[Sample], reference: Reference | None = None) -> dict[str, Floats]:
    """The window by column: scores, verdicts as 0 and 1, and inputs, where those were measured.

    Of a reference with the least and the greatest of its inputs, also whether a picture has none between them.
    """
    columns = {
        "probability": np.array([sample.probability for sample in samples]),
        "ai_generated": np.array([float(sample.prediction == "ai_generated") for sample in samples]),
        "low_confidence": np.array([float(sample.confidence == "low") for sample in samples]),
    }
    names = {name for sample in samples for name in sample.inputs}
    columns |= {name: np.array([sample.inputs[name] for sample in samples if name in sample.inputs]) for name in names}
    if reference and (ranges := _ranges(reference)):
        measured = (sample.inputs.items() for sample in samples if sample.inputs)
        outside = [any(name in ranges and not _within(ranges[name], value) for name, value in row) for row in measured]
        columns["outside"] = np.array(outside, dtype=float)
    return columns


def _ranges(reference: Reference) -> dict[str, tuple[float, float]]:
    inputs = {name: found.quantiles for name, found in reference.inputs.items()}
    return {name: (points[0.0], points[1.0]) for name, points in inputs.items() if {0.0, 1.0} <= points.keys()}


def _within(limits: tuple[float, float], value: float) -> bool:
    return limits[0] <= value <= limits[1]


def plan(reference: Reference, floors: Floors) -> tuple[Check, ...]:
    """All checks that a reference allows."""
    n = reference.n
    return (
        *score_plan(reference, floors),
        *(check for name, found in reference.inputs.items() for check in _shape(name, found, found.n or n, floors)),
        *_outside(reference, floors),
    )


def score_plan(reference: Reference, floors: Floors) -> tuple[Check, ...]:
    """Those of scores and verdicts alone."""
    scores, n = reference.scores, reference.n
    return (
        *_moments(scores, n, floors),
        *_shape("probability", scores, n, floors),
        _share("ai_generated", scores.ai_generated_ratio.value, n, floors.change),
        _share("low_confidence", scores.low_confidence_ratio.value, n, floors.change),
    )


def _outside(reference: Reference, floors: Floors) -> tuple[Check, ...]:
    """Pictures such as the reference has none: a few tell of another source long before all quantiles move."""
    ranges, n = _ranges(reference), min((found.n or reference.n for found in reference.inputs.values()), default=0)
    if not ranges:
        return ()
    # The least and the greatest of n values are passed by 2 of n + 1 further ones; the inputs are not independent.
    check = _share("outside", min(1.0, 2 * len(ranges) / (n + 1)), n, floors.change / 2)
    return (replace(check, score=lambda values: max(0.0, float(values.mean()) - 2 * len(ranges) / (n + 1))),)


def _moments(scores: Distribution, n: int, floors: Floors) -> tuple[Check, ...]:
    return (
        Check(
            name="probability_mean",
            column="probability",
            score=lambda values: abs(float(values.mean()) - scores.mean),
            limit=lambda alpha, values: statistics.mean_limit(alpha, values, scores.std, n),
            floor=floors.change,
        ),
        Check(
            name="probability_std",
            column="probability",
            score=lambda values: abs(float(values.std()) - scores.std),
            limit=lambda alpha, values: statistics.std_limit(alpha, values, scores.std, n),
            floor=floors.change,
        ),
    )


def _share(column: str, reference_share: float, n: int, floor: float) -> Check:
    def limit(alpha: float, values: Floats) -> float:
        return statistics.share_limit(alpha, float(values.mean()), values.size, reference_share, n)

    return Check(
        name=f"{column}_ratio",
        column=column,
        score=lambda values: abs(float(values.mean()) - reference_share),
        limit=limit,
        floor=floor,
    )


def _shape(column: str, distribution: Distribution, n: int, floors: Floors) -> list[Check]:
    checks = [
        Check(
            name=f"{column}_ks",
            column=column,
            score=partial(statistics.ks, quantiles=distribution.quantiles),
            limit=lambda alpha, values: statistics.ks_limit(alpha, values.size, n),
            floor=floors.ks,
        )
    ]
    bins = None if column in SIZES else statistics.bins(distribution.quantiles)
    if bins is not None:
        edges, shares = bins
        psi = Check(
            name=f"{column}_psi",
            column=column,
            score=partial(statistics.psi, edges=edges, shares=shares),
            limit=lambda alpha, values: statistics.psi_limit(alpha, values.size, n, shares.size),
            floor=floors.psi,
        )
        checks.append(psi)
    return checks
