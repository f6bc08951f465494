"""Folds of whole sources: what each leaves out of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from training.data import LABELS, InvalidDataError, Photo

Fold = frozenset[str]
"""Names of sources that are left out together."""


def assign(photos: Sequence[Photo], folds: int, seed: int) -> list[Fold]:
    """Distribute whole sources over folds of about equal size, so that each leaves out photos of both classes.

    Within a class the largest sources are placed first, each where the fewest photos of that class are (seeded where
    sizes tie); a source with both classes is left out whole. With more folds than a class has sources, each of its
    sources is left out several times, beside different ones of the other class; as many folds as the other class has
    sources are then the most there can be, and leave out its sources one at a time.

    Raises:
        InvalidDataError: A class has fewer than two sources, or a fold would leave nothing of it to train on.
    """
    sizes = {label: Counter(photo.source for photo in photos if photo.label == label) for label in LABELS}
    for label, sources in sizes.items():
        if len(sources) < 2:  # noqa: PLR2004 - one to leave out, one to train on
            raise InvalidDataError(
                f"leave-sources-out needs two sources per class; {label} has {len(sources)}: "
                "set crossvalidate.folds to 0, or name the sources in the manifest"
            )
    left_out: list[set[str]] = [set() for _ in range(min(folds, max(map(len, sizes.values()))))]
    for label in sorted(LABELS, key=lambda label: -len(sizes[label])):
        other = sizes[LABELS[1 - LABELS.index(label)]]
        _place(sizes[label], left_out, seed)
        _fill(sizes[label], left_out, avoid=set(other))
    for fold in left_out:
        for label, sources in sizes.items():
            if not sources.keys() - fold:
                raise InvalidDataError(
                    f"a fold would leave no {label} photo to train on: set crossvalidate.folds higher"
                )
    return [frozenset(fold) for fold in left_out]


def _place(sizes: Counter[str], left_out: Sequence[set[str]], seed: int) -> None:
    """Put each source that has no fold yet where the fewest photos of its class are."""
    names = sorted(sizes)
    np.random.default_rng(seed).shuffle(names)
    for name in sorted(names, key=lambda name: -sizes[name]):
        if not any(name in fold for fold in left_out):
            min(left_out, key=lambda fold: sum(sizes[other] for other in fold)).add(name)


def _fill(sizes: Counter[str], left_out: Sequence[set[str]], avoid: set[str]) -> None:
    """Leave out a source once more in each fold that has none of the class, those of one class first, in turn."""
    again = sorted(sizes.keys() - avoid) or sorted(sizes)
    lacking = [fold for fold in left_out if not fold & sizes.keys()]
    for turn, fold in enumerate(lacking):
        fold.add(again[turn % len(again)])
