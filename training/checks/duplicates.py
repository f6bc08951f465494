"""Duplicate images, exact or nearly so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK = 512
"""Rows of the matrix of distances that are in memory at once."""

Pairs = NDArray[np.int64]
"""Shape (pairs, 2): indices of two images."""


def exact_pairs(digests: Sequence[str]) -> Pairs:
    """Pair the first image of each set of equal digests with each other one of the set."""
    sets: defaultdict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        sets[digest].append(index)
    pairs = [(members[0], other) for members in sets.values() for other in members[1:]]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def near_pairs(looks: Sequence[int], bits: int) -> Iterator[tuple[Pairs, NDArray[np.int64]]]:
    """Yield all pairs of 64-bit hashes that differ in at most so many bits, in blocks, with their distances.

    Takes N * N / 2 comparisons: 50,000 images are a matter of seconds.
    """
    hashes = np.array(looks, dtype=np.uint64)
    for start in range(0, len(hashes), BLOCK):
        rows = hashes[start : start + BLOCK]
        distances = np.bitwise_count(rows[:, None] ^ hashes[None, start:])
        row, column = np.nonzero(distances <= bits)
        later = column > row
        row, column = row[later], column[later]
        if len(row):
            yield np.stack([row, column], axis=1) + start, distances[row, column].astype(np.int64)
