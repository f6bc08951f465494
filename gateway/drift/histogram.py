"""How often scores were in each part of 0..1: the window's beside the reference's, for a plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from gateway.drift.reference import EDGES, Reference
from gateway.schemas import DriftHistogram

DECIMALS: Final = 6


def histogram_of(scores: Sequence[float], reference: Reference | None) -> DriftHistogram:
    """Count the scores in the reference's bins, or in ten equal ones."""
    theirs = reference.scores.histogram if reference else None
    edges = list(theirs.edges if theirs else EDGES)
    return DriftHistogram(
        edges=edges,
        reference=list(theirs.share) if theirs else None,
        current=_shares(scores, edges) if scores else None,
    )


def _shares(scores: Sequence[float], edges: list[float]) -> list[float]:
    counts, _ = np.histogram(scores, bins=edges)
    return [round(float(share), DECIMALS) for share in counts / len(scores)]
