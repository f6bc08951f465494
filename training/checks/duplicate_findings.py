"""Findings about duplicates: across classes they contradict, across splits they flatter, within they only repeat."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training.checks.duplicates import Pairs, exact_pairs, near_pairs
from training.checks.findings import EXAMPLES, Finding, Severity
from training.checks.pictures import Facts
from training.data import Photo

EXACT: dict[str, tuple[Severity, str]] = {
    "duplicates_across_classes": ("error", "pairs of identical images have both labels"),
    "duplicates_across_splits": ("error", "pairs of identical images are in two splits"),
    "duplicates": ("warning", "pairs of identical images are in one split"),
}
NEAR: dict[str, tuple[Severity, str]] = {
    "near_duplicates_across_splits": (
        "error",
        "pairs of near-duplicates from different groups are in two splits",
    ),
    "near_duplicates_across_classes": (
        "warning",
        "pairs of near-duplicates from different groups have both labels",
    ),
    "near_duplicates": ("info", "pairs of near-duplicates from different groups are in one split"),
}


def exact_findings(photos: Sequence[Photo], facts: Sequence[Facts]) -> Iterator[Finding]:
    """Compare images pixel by pixel."""
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for one, other in exact_pairs([fact.digest for fact in facts]).tolist():
        first, second = photos[one], photos[other]
        if first.path == second.path:
            continue  # a matter of the manifest's rows, which another check reads
        if first.label != second.label:
            check = "duplicates_across_classes"
        else:
            check = "duplicates" if first.split == second.split else "duplicates_across_splits"
        found[check].append((first.path, second.path))
    for check, (severity, message) in EXACT.items():
        if pairs := found[check]:
            yield Finding(check, severity, message, len(pairs), list(pairs[:EXAMPLES]))


def near_findings(photos: Sequence[Photo], facts: Sequence[Facts], bits: int) -> Iterator[Finding]:
    """Compare images by perceptual hash; skip those of one group and identical ones."""
    codes = {name: _codes([getattr(photo, name) for photo in photos]) for name in ("label", "split", "group")}
    digests = _codes([fact.digest for fact in facts])
    counts: Counter[str] = Counter()
    nearest: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for pairs, distances in near_pairs([fact.look for fact in facts], bits):
        differ = {name: code[pairs[:, 0]] != code[pairs[:, 1]] for name, code in codes.items()}
        news = differ["group"] & (digests[pairs[:, 0]] != digests[pairs[:, 1]])
        kinds = {
            "near_duplicates_across_splits": news & differ["split"],
            "near_duplicates_across_classes": news & ~differ["split"] & differ["label"],
            "near_duplicates": news & ~differ["split"] & ~differ["label"],
        }
        for check, chosen in kinds.items():
            counts[check] += int(chosen.sum())
            nearest[check] = _nearest(nearest[check], pairs[chosen], distances[chosen])
    for check, (severity, message) in NEAR.items():
        if counts[check]:
            examples = [(photos[one].path, photos[other].path) for _, one, other in nearest[check]]
            yield Finding(check, severity, message, counts[check], list(examples))


def _nearest(
    before: list[tuple[int, int, int]], pairs: Pairs, distances: NDArray[np.int64]
) -> list[tuple[int, int, int]]:
    """Return the examples that look most alike, of those before and of new ones."""
    few = np.argsort(distances, kind="stable")[:EXAMPLES]
    new = [(int(distances[index]), *pairs[index].tolist()) for index in few]
    return sorted([*before, *new])[:EXAMPLES]


def _codes(values: Sequence[str]) -> NDArray[np.int64]:
    return np.unique(values, return_inverse=True)[1]
