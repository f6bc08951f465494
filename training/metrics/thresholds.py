"""Thresholds at named operating points, on the scale of served probabilities: four decimals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from handler.spec import ModelSpec
from training.data import Photo
from training.metrics.figures import Figures, rates
from training.metrics.scored import Floats, Scored, score
from training.params import OperatingPoint

FALSE_ALARM_LIMITS: dict[OperatingPoint, float] = {"false_alarms_5": 0.05, "false_alarms_1": 0.01}
_CANDIDATES = np.arange(1, 10_000)
"""Every threshold that a spec takes, in ten-thousandths."""


def operating_points(scored: Scored) -> dict[str, float]:
    """Return the threshold of each operating point on photos of both classes.

    `balanced` has the best balanced accuracy, from the middle where several do. The others are the lowest thresholds
    that flag at most the named percentage of the real photos; where none does, the highest that a spec takes.
    """
    served = np.array([round(10_000 * round(probability, 4)) for probability in scored.probabilities.tolist()])
    recall = _flagged_share(served[scored.generated])
    false_alarms = _flagged_share(served[~scored.generated])
    balance = recall - false_alarms
    best = np.flatnonzero(np.isclose(balance, balance.max()))
    points: dict[str, float] = {"balanced": _threshold(int(best[(len(best) - 1) // 2]))}
    for name, limit in FALSE_ALARM_LIMITS.items():
        within = np.flatnonzero(false_alarms <= limit)
        points[name] = _threshold(int(within[0]) if len(within) else len(_CANDIDATES) - 1)
    return points


def rates_at(
    thresholds: Mapping[str, float], photos: Sequence[Photo], logits: torch.Tensor, spec: ModelSpec, samples: int
) -> dict[str, Figures]:
    """Return each operating point's threshold with the rates that it has on photos with logits of shape (N,)."""
    points: dict[str, Figures] = {}
    for name, threshold in thresholds.items():
        scored = score(photos, logits, dataclasses.replace(spec, threshold=threshold))
        points[name] = {"threshold": threshold, **rates(scored, samples)}
    return points


def _flagged_share(served: NDArray[np.int64]) -> Floats:
    """Return the share at or above each candidate, for scores of shape (N,) in ten-thousandths."""
    below = np.searchsorted(np.sort(served), _CANDIDATES, side="left")
    share: Floats = (len(served) - below) / len(served)
    return share


def _threshold(index: int) -> float:
    return int(_CANDIDATES[index]) / 10_000
