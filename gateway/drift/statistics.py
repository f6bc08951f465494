"""How far a sample is from a reference that is known by a few numbers, and how far chance alone may take it.

Every limit takes `alpha`, the chance of going over it on data like the reference's, and both sample sizes, because
the reference is a sample too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def ks(values: Floats, quantiles: Mapping[float, float]) -> float:
    """The Kolmogorov-Smirnov distance as far as quantiles can show it; values that repeat do not blow it up.

    At a quantile q of probability p at least p of the reference is at or below q, and at most p of it is below.
    """
    ordered = np.sort(values)
    shares, points = _columns(quantiles)
    below = np.searchsorted(ordered, points, side="left") / values.size
    up_to = np.searchsorted(ordered, points, side="right") / values.size
    return max(0.0, float((shares - up_to).max()), float((below - shares).max()))


def ks_limit(alpha: float, size: int, reference_size: int) -> float:
    """The two-sample limit of Massart's inequality, plus what interpolated and rounded quantiles may add."""
    return math.sqrt(math.log(2 / alpha) / 2 * _noise(size, reference_size)) + 2 / reference_size


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


def psi_limit(alpha: float, size: int, reference_size: int, bin_count: int) -> float:
    """Chi-square with one degree less than bins, times both samples' noise (Yurdakul 2018; Wilson and Hilferty)."""
    degrees = bin_count - 1
    spread = 2 / (9 * degrees)
    chi_square = degrees * (1 - spread + NormalDist().inv_cdf(1 - alpha) * math.sqrt(spread)) ** 3
    return chi_square * _noise(size, reference_size)


def share_limit(alpha: float, share: float, size: int, reference_share: float, reference_size: int) -> float:
    """How far two shares may be apart: pooled, with one more of each kind, and corrected for being counts."""
    noise = _noise(size, reference_size)
    pooled = (share * size + reference_share * reference_size + 1) / (size + reference_size + 2)
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
    return _two_sided(alpha) * error * math.sqrt(_noise(values.size, reference_size))


def _two_sided(alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha / 2)


def _noise(size: int, reference_size: int) -> float:
    return 1 / size + 1 / reference_size


def _columns(quantiles: Mapping[float, float]) -> tuple[Floats, Floats]:
    ordered = sorted(quantiles.items())
    return np.array([share for share, _ in ordered]), np.array([point for _, point in ordered])
