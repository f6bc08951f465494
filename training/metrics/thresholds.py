"""Base rates for named operating points: a probability of 0.5 is then where the point flags.

A threshold t on the probability for equally many of both classes is the base rate 1 - t.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from handler.spec import ModelSpec
from training.data import Photo
from training.metrics.figures import Figures, rates
from training.metrics.scored import Floats, Scored, score
from training.params import OperatingPoint

FALSE_ALARM_LIMITS: dict[OperatingPoint, float] = {"false_alarms_5": 0.05, "false_alarms_1": 0.01}
_CANDIDATES = np.arange(9_999, 0, -1) / 10_000
"""Base rates, the most alarming first."""
_ODDS = 0.49995 / 0.50005
"""Of the least probability that four decimals round up to 0.5."""


def operating_points(scored: Scored, products: Collection[str]) -> dict[str, float]:
    """Return the base rate of each operating point on photos of both classes.

    `balanced` has the best balanced accuracy, from the middle where several do. The others are the highest base rates
    at which at most the named percentage of the real photos is flagged; where none does, the lowest that there is. Real
    photos of the product domains count alone if there are any, and by the worse of two measures: all pooled, and the
    mean over their sources.
    """
    recall = _flagged_share(scored.where(scored.generated))
    balance = recall - _flagged_share(scored.where(~scored.generated))
    real = _real_products(scored, products)
    false_alarms = np.maximum(_flagged_share(real), _mean_over_sources(real))
    best = np.flatnonzero(np.isclose(balance, balance.max()))
    points: dict[str, float] = {"balanced": float(_CANDIDATES[best[(len(best) - 1) // 2]])}
    for name, limit in FALSE_ALARM_LIMITS.items():
        within = np.flatnonzero(false_alarms <= limit)
        points[name] = float(_CANDIDATES[within[0] if len(within) else -1])
    return points


def rates_at(
    base_rates: Mapping[str, float], photos: Sequence[Photo], logits: torch.Tensor, spec: ModelSpec, samples: int
) -> dict[str, Figures]:
    """Return each operating point's base rate with the rates that it has on photos with logits of shape (N,)."""
    return {
        name: {
            "base_rate": base_rate,
            **rates(score(photos, logits, dataclasses.replace(spec, base_rate=base_rate)), samples),
        }
        for name, base_rate in base_rates.items()
    }


def by_source(scored: Scored, products: Collection[str], point: OperatingPoint) -> dict[str, Any]:
    """Return how the false alarms of an operating point spread over sources of real product photos.

    Each source is held against the base rate that the others alone would choose, as a new shop would be.
    """
    real = _real_products(scored, products)
    sources = sorted({photo.source for photo in real.photos})
    if len(sources) < 2:  # noqa: PLR2004 - one to choose on, one to hold against it
        return {"sources": len(sources)}
    shares, flagged = {}, 0
    for source in sources:
        of_it = np.array([photo.source == source for photo in scored.photos])
        rate = operating_points(scored.where(~of_it), products)[point]
        hits = _of_source(real, source).rebased(rate).flagged
        shares[source], flagged = float(hits.mean()), flagged + int(hits.sum())
    worst = max(shares, key=shares.__getitem__)
    return {
        "sources": len(sources),
        "n": len(real.photos),
        "pooled": flagged / len(real.photos),
        "mean": float(np.mean(list(shares.values()))),
        "std": float(np.std(list(shares.values()))),
        "worst": worst,
        "worst_share": shares[worst],
    }


def _real_products(scored: Scored, products: Collection[str]) -> Scored:
    real = scored.where(~scored.generated)
    found = real.that(lambda photo: photo.domain in products)
    return found if found.photos else real


def _of_source(scored: Scored, source: str) -> Scored:
    return scored.that(lambda photo: photo.source == source)


def _mean_over_sources(scored: Scored) -> Floats:
    sources = sorted({photo.source for photo in scored.photos})
    shares = [_flagged_share(_of_source(scored, source)) for source in sources]
    mean: Floats = np.mean(shares, axis=0)
    return mean


def _flagged_share(scored: Scored) -> Floats:
    """Return the share that is flagged at each candidate."""
    odds = np.sort(scored.balanced / np.maximum(1 - scored.balanced, np.finfo(np.float64).tiny))
    below = np.searchsorted(odds, _ODDS * (1 - _CANDIDATES) / _CANDIDATES, side="left")
    share: Floats = (len(odds) - below) / len(odds)
    return share
