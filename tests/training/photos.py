from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.data.manifest import Photo
from training.evaluation.figures import Scored

REAL, AI = "real", "ai_generated"


def photo(label: str, source: str = "a", group: str = "g", generator: str = "none", domain: str = "shoes") -> Photo:
    return Photo("a.png", label, "test", source, generator, domain, group, "CC0")


def scored(photos: Sequence[Photo], probabilities: Sequence[float], base_rate: float = 0.5) -> Scored:
    return Scored(photos, np.array(probabilities, dtype=np.float64), base_rate)


def overlapping(groups: int, size: int = 1) -> Scored:
    """Photos of classes that overlap, in so many groups a class; those of a group are equal."""
    random = np.random.default_rng(1)
    photos = [
        photo(label, group=f"{label}{group}") for label in (REAL, AI) for group in range(groups) for _ in range(size)
    ]
    logits = random.normal(size=(2, groups)) + np.array([[-0.6], [0.6]])
    probabilities = 1 / (1 + np.exp(-np.repeat(logits, size, axis=1).ravel()))
    return scored(photos, probabilities.tolist())
