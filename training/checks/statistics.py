"""Trivial pixel statistics, which a detector must beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import laplace

NAMES = (
    "mean_red",
    "mean_green",
    "mean_blue",
    "deviation_red",
    "deviation_green",
    "deviation_blue",
    "saturation",
    "log_gradient",
    "log_laplacian",
    "near_white",
    "entropy",
)
NEAR_WHITE = 240


def pixel_statistics(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the features called NAMES, shape (11,), of an RGB image of shape (3, H, W)."""
    channels = picture.astype(np.float64)
    grey = channels.mean(axis=0)
    high, low = channels.max(axis=0), channels.min(axis=0)
    gradient = [np.diff(grey, axis=axis).var() for axis in (0, 1)]
    shares = np.bincount(grey.astype(np.uint8).ravel(), minlength=256) / grey.size
    shares = shares[shares > 0]
    return np.array(
        [
            *channels.mean(axis=(1, 2)),
            *channels.std(axis=(1, 2)),
            ((high - low) / np.maximum(high, 1)).mean(),
            np.log1p(sum(gradient)),
            np.log1p(laplace(grey).var()),
            (low >= NEAR_WHITE).mean(),
            -(shares * np.log2(shares)).sum(),
        ]
    )
