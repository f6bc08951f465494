"""Base rates for named operating points: a probability of 0.5 is then where the point flags.

A threshold t on the probability for equally many of both classes is the base rate 1 - t.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

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


def operating_points(scored: Scored) -> dict[str, float]:
    """Return the base rate of each operating point on photos of both classes.

    `balanced` has the best balanced accuracy, from the middle where several do. The others are the highest base rates
    at which at most the named percentage of the real photos is flagged; where none does, the lowest that there is.
    """
    recall = _flagged_share(scored.balanced[scored.generated])
    false_alarms = _flagged_share(scored.balanced[~scored.generated])
    balance = recall - false_alarms
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
        name: {"base_rate": base_rate}
        | rates(score(photos, logits, dataclasses.replace(spec, base_rate=base_rate)), samples)
        for name, base_rate in base_rates.items()
    }


def _flagged_share(balanced: Floats) -> Floats:
    """Return the share that is flagged at each candidate, for balanced probabilities of shape (N,)."""
    odds = np.sort(balanced / np.maximum(1 - balanced, np.finfo(np.float64).tiny))
    below = np.searchsorted(odds, _ODDS * (1 - _CANDIDATES) / _CANDIDATES, side="left")
    share: Floats = (len(odds) - below) / len(odds)
    return share
