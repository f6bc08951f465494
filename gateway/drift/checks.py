"""The drift checks: each a score of one column of the window, and the limit that chance may take it to."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from gateway.drift import reference as statistics
from gateway.drift.reference import Distribution, Floats, Reference
from gateway.drift.store import Sample
from gateway.schemas import DriftCheck, InputName
from gateway.settings import Settings

SIZES: Final = frozenset({"width", "height", "megapixels"})
"""Inputs in which many images share a value, so that quantiles do not tell the bins that PSI needs."""


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


def columns_of(samples: Sequence[Sample], reference: Reference | None = None) -> dict[str, Floats]:
    """The window by column: scores, predictions as 0 and 1, and inputs, where those were measured.

    Of a reference with the least and the greatest of its inputs, also whether an image has none between them.
    """
    columns = {
        "probability": np.array([sample.probability for sample in samples]),
        "ai_generated": np.array([float(sample.prediction == "ai_generated") for sample in samples]),
        "low_confidence": np.array([float(sample.confidence == "low") for sample in samples]),
    }
    names = {name for sample in samples for name in sample.inputs}
    columns |= {name: np.array([sample.inputs[name] for sample in samples if name in sample.inputs]) for name in names}
    if reference and (ranges := _ranges(reference)):
        measured = [sample.inputs for sample in samples if sample.inputs]
        columns["outside"] = np.array([float(_is_outside(inputs, ranges)) for inputs in measured])
    return columns


def _ranges(reference: Reference) -> dict[InputName, tuple[float, float]]:
    inputs = {name: found.quantiles for name, found in reference.inputs.items()}
    return {name: (points[0.0], points[1.0]) for name, points in inputs.items() if {0.0, 1.0} <= points.keys()}


def _is_outside(inputs: Mapping[InputName, float], ranges: Mapping[InputName, tuple[float, float]]) -> bool:
    return any(not low <= inputs[name] <= high for name, (low, high) in ranges.items() if name in inputs)


def plan(reference: Reference) -> list[Check]:
    """All checks that a reference allows."""
    n = reference.n
    checks = score_plan(reference)
    for name, found in reference.inputs.items():
        checks += _shape(name, found, found.n or n)
    if ranges := _ranges(reference):
        # Images such as the reference has none: a few tell of another source long before all quantiles move. The least
        # and the greatest of n values are passed by 2 of n + 1 further ones; the inputs are not independent.
        least = min(found.n or n for found in reference.inputs.values())
        share = min(1.0, 2 * len(ranges) / (least + 1))
        outside = _share("outside", share, least, Settings.drift_min_change / 2)
        checks.append(outside._replace(score=lambda values: max(0.0, float(values.mean()) - share)))
    return checks


def score_plan(reference: Reference) -> list[Check]:
    """Those of scores and predictions alone."""
    scores, n = reference.scores, reference.n

    def mean_score(values: Floats) -> float:
        return abs(float(values.mean()) - scores.mean)

    def std_score(values: Floats) -> float:
        return abs(float(values.std()) - scores.std)

    mean_limit = partial(statistics.mean_limit, reference_std=scores.std, reference_size=n)
    std_limit = partial(statistics.std_limit, reference_std=scores.std, reference_size=n)
    return [
        Check("probability_mean", "probability", mean_score, mean_limit, Settings.drift_min_change),
        Check("probability_std", "probability", std_score, std_limit, Settings.drift_min_change),
        *_shape("probability", scores, n),
        _share("ai_generated", scores.ai_generated_ratio.value, n, Settings.drift_min_change),
        _share("low_confidence", scores.low_confidence_ratio.value, n, Settings.drift_min_change),
    ]


def _share(column: str, reference_share: float, n: int, floor: float) -> Check:
    def score(values: Floats) -> float:
        return abs(float(values.mean()) - reference_share)

    def limit(alpha: float, values: Floats) -> float:
        return statistics.share_limit(alpha, float(values.mean()), values.size, reference_share, n)

    return Check(f"{column}_ratio", column, score, limit, floor)


def _shape(column: str, distribution: Distribution, n: int) -> list[Check]:
    def ks_limit(alpha: float, values: Floats) -> float:
        return statistics.ks_limit(alpha, values.size, n)

    ks = Check(
        f"{column}_ks",
        column,
        partial(statistics.ks, quantiles=distribution.quantiles),
        ks_limit,
        Settings.drift_min_ks,
    )
    bins = None if column in SIZES else statistics.bins(distribution.quantiles)
    if bins is None:
        return [ks]
    edges, shares = bins
    psi = partial(statistics.psi, edges=edges, shares=shares)

    def psi_limit(alpha: float, values: Floats) -> float:
        return statistics.psi_limit(alpha, values.size, n, shares.size)

    return [ks, Check(f"{column}_psi", column, psi, psi_limit, Settings.drift_min_psi)]
