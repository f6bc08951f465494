"""Train, dev and test for data that comes without: grouped, seeded, and by whole sources where there are enough."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from training.data import LABELS, InvalidDataError, Photo

SHARES = MappingProxyType({"train": 0.7, "dev": 0.15, "test": 0.15})
SOURCES_NEEDED = 3
"""Of each class, to give dev and test sources of their own."""
DRAWS = 10_000
"""Random ways to share out whole sources, of which the one nearest to SHARES is taken."""


def assign(photos: Sequence[Photo], seed: int) -> list[Photo]:
    """Return the photos, in their order, with a split each; the same for any order of theirs.

    Given three sources or more in each class, dev and test get whole sources, none of which train has. Otherwise each
    source is divided. A group never crosses splits.

    Raises:
        InvalidDataError: Too few groups for every split to have both classes.
    """
    units = _units(photos)
    try:
        split_of = _whole_sources(photos, units, seed)
    except _TooFewSourcesError:
        split_of = _groups(photos, seed, SHARES)
    return _checked([dataclasses.replace(photo, split=split_of[photo.group]) for photo in photos], SHARES)


def divide(photos: Sequence[Photo], shares: Mapping[str, float], seed: int) -> list[Photo]:
    """Return the photos with splits of the given shares, divided within sources; a group never crosses.

    Raises:
        InvalidDataError: Too few groups for every split to have both classes.
    """
    split_of = _groups(photos, seed, shares)
    return _checked([dataclasses.replace(photo, split=split_of[photo.group]) for photo in photos], shares)


class _TooFewSourcesError(Exception):
    pass


def _units(photos: Sequence[Photo]) -> dict[str, str]:
    """Map each source to a name that it shares with those sources that have a group in common with it."""
    linked = DisjointSet(sorted({photo.source for photo in photos}))
    first: dict[str, str] = {}
    for photo in sorted(photos, key=lambda photo: photo.source):
        linked.merge(first.setdefault(photo.group, photo.source), photo.source)
    return {source: min(linked.subset(source)) for source in linked}


def _whole_sources(photos: Sequence[Photo], units: Mapping[str, str], seed: int) -> dict[str, str]:
    counts = Counter((photo.label, units[photo.source]) for photo in photos)
    names = sorted(set(units.values()))
    sizes = np.array([[counts[label, name] for name in names] for label in LABELS])  # (classes, units)
    if ((sizes > 0).sum(axis=1) < SOURCES_NEEDED).any():
        raise _TooFewSourcesError
    splits, shares = list(SHARES), np.array(list(SHARES.values()))
    draws = np.random.default_rng(seed).choice(len(splits), size=(DRAWS, len(names)), p=shares)
    got = np.stack([(draws == index) @ sizes.T for index in range(len(splits))], axis=-1)  # (draws, classes, splits)
    cost = np.abs(got / sizes.sum(axis=1)[:, None] - shares).sum(axis=(1, 2))
    cost[(got == 0).any(axis=(1, 2))] = np.inf
    if np.isinf(cost.min()):
        raise _TooFewSourcesError  # as where every unit of one class is a unit of the other, too
    best = dict(zip(names, draws[cost.argmin()], strict=True))
    return {photo.group: splits[best[units[photo.source]]] for photo in photos}


def _groups(photos: Sequence[Photo], seed: int, shares: Mapping[str, float]) -> dict[str, str]:
    """Hand out each class's groups, source by source in random order, to the split that lacks most at each step."""
    sizes = Counter(photo.group for photo in photos)
    homes: dict[str, tuple[str, str]] = {}
    for photo in sorted(photos, key=lambda photo: (photo.group, photo.label, photo.source)):
        homes.setdefault(photo.group, (photo.label, photo.source))
    targets = {split: share / sum(shares.values()) for split, share in shares.items()}
    random = np.random.default_rng(seed)
    shuffled = sorted(homes)
    random.shuffle(shuffled)
    had: defaultdict[str, Counter[str]] = defaultdict(Counter)
    split_of = {}
    for group in sorted(shuffled, key=lambda group: homes[group]):  # stable: random within a source
        mine = had[homes[group][0]]
        total = mine.total() + sizes[group]
        split_of[group] = max(targets, key=lambda split: targets[split] * total - mine[split])
        mine[split_of[group]] += sizes[group]
    return split_of


def _checked(photos: list[Photo], shares: Mapping[str, float]) -> list[Photo]:
    have = {(photo.split, photo.label) for photo in photos}
    lacking = [f"{label} in {split}" for split in shares for label in LABELS if (split, label) not in have]
    if lacking:
        raise InvalidDataError(
            f"too few groups of images to split: none left for {', '.join(lacking)}; add images, or "
            "a manifest whose column split is train, dev or test in every row"
        )
    return photos
