"""Bootstrap over groups of related photos, as weights: how often each photo is in each resample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from training.data import LABELS, Photo
from training.metrics.scored import Floats

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2


def group_weights(photos: Sequence[Photo], samples: int) -> Floats:
    """Return how often each of N photos is in each resample, shape (samples, N).

    Each class is resampled by itself, so that no resample lacks one; seeded.
    """
    random = np.random.default_rng(0)
    weights = np.zeros((samples, len(photos)))
    for label in LABELS:
        members = np.array([index for index, photo in enumerate(photos) if photo.label == label], dtype=np.int64)
        if len(members):
            group_of = group_indices([photos[index] for index in members])
            groups = int(group_of.max()) + 1
            drawn = random.multinomial(groups, np.full(groups, 1 / groups), size=samples)
            weights[:, members] = drawn[:, group_of]
    return weights


def group_indices(photos: Sequence[Photo]) -> NDArray[np.int64]:
    """Number the groups from 0 and return each photo's, shape (N,)."""
    _, indices = np.unique([photo.group for photo in photos], return_inverse=True)
    return indices.astype(np.int64)


def percentile_interval(values: Floats) -> list[float]:
    """Return the bounds that 95 % of the resamples' values, shape (samples,), lie within."""
    return [float(bound) for bound in np.quantile(values, [_TAIL, 1 - _TAIL])]


def exact_interval(share: float, n: int) -> list[float]:
    """Return Clopper and Pearson's 95 % interval of a share among n independent draws."""
    hits = share * n
    low = beta.ppf(_TAIL, hits, n - hits + 1) if hits > 0 else 0
    high = beta.ppf(1 - _TAIL, hits + 1, n - hits) if hits < n else 1
    return [float(low), float(high)]
