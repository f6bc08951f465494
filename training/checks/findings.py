"""What is wrong with the data, or worth knowing: each finding with its severity, its count and examples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from training.checks.pictures import Broken, Facts
from training.data import LABELS, Photo, Split

Severity = Literal["error", "warning", "info"]
EXAMPLES = 12
MIN_MINORITY = 0.25
"""Share of a split's rarer class below which the split is called unbalanced."""


@dataclass(frozen=True)
class Finding:
    """One kind of trouble; an example is one path, or two that belong together."""

    check: str
    severity: Severity
    message: str
    count: int
    examples: list[tuple[str, ...]] = field(default_factory=list)


def row_findings(photos: Sequence[Photo]) -> Iterator[Finding]:
    """Check the manifest's rows by themselves: labels, splits, paths that come twice, groups that cross splits."""
    unknown = [p for p in photos if not is_known(p)]
    yield from _some("unknown_labels", "error", "rows have an unknown label or split", _paths(unknown))
    yield from _listed_twice(photos)
    crossing = list(_crossing(photos))
    yield from _some("groups_across_splits", "error", "groups have images in more than one split", crossing)


def is_known(photo: Photo) -> bool:
    """Whether label and split are ours."""
    return photo.label in LABELS and photo.split in get_args(Split)


def integrity_findings(photos: Sequence[Photo], facts: Sequence[Facts | Broken]) -> Iterator[Finding]:
    """Name the images that are missing and those that serving would refuse."""
    broken = [(photo.path, fact.code) for photo, fact in zip(photos, facts, strict=True) if isinstance(fact, Broken)]
    missing = [(path,) for path, code in broken if code == "missing"]
    yield from _some("missing_pictures", "error", "images of the manifest are missing", missing)
    codes = Counter(code for _, code in broken if code != "missing")
    refused = [(path,) for path, code in broken if code != "missing"]
    listed = ", ".join(f"{code} {count}" for code, count in codes.most_common())
    yield from _some("broken_pictures", "error", f"images cannot be used ({listed})", refused)


def balance_findings(photos: Sequence[Photo]) -> Iterator[Finding]:
    """Check that every split has both classes in like numbers, and that dev and test have sources of their own."""
    for split in get_args(Split):
        sizes = {label: sum(p.split == split and p.label == label for p in photos) for label in LABELS}
        listed = " and ".join(f"{count} {label}" for label, count in sizes.items())
        if min(sizes.values()) == 0:
            yield Finding("absent_class", "error", f"split {split} lacks a class: {listed}", 1)
        elif min(sizes.values()) < MIN_MINORITY * sum(sizes.values()):
            yield Finding("unbalanced_classes", "warning", f"split {split} is unbalanced: {listed}", 1)
    yield from _shared_sources(photos)


def picture_findings(photos: Sequence[Photo], facts: Sequence[Facts], input_size: int) -> Iterator[Finding]:
    """Report images that must be enlarged for the network, and mixed file formats."""
    small = [photo for photo, fact in zip(photos, facts, strict=True) if min(fact.width, fact.height) < input_size]
    message = f"images are smaller than the network's input of {input_size} px and must be enlarged"
    yield from _some("small_pictures", "info", message, _paths(small))
    formats: dict[str, Counter[str]] = {label: Counter() for label in LABELS}
    for photo, fact in zip(photos, facts, strict=True):
        formats[photo.label][fact.format] += 1
    if len(set().union(*formats.values())) > 1:
        listed = "; ".join(f"{label}: {_listed(counts)}" for label, counts in formats.items())
        yield Finding("mixed_formats", "info", f"file formats differ ({listed})", len(set().union(*formats.values())))


def _listed_twice(photos: Sequence[Photo]) -> Iterator[Finding]:
    """Rows of one image that agree repeat it; those that do not contradict each other."""
    rows: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for photo in photos:
        rows[photo.path].append((photo.label, photo.split))
    disputed = [(path,) for path, places in rows.items() if len(set(places)) > 1]
    repeated = [(path,) for path, places in rows.items() if len(places) > 1 and len(set(places)) == 1]
    yield from _some("disputed_pictures", "error", "images are listed with two labels or in two splits", disputed)
    yield from _some("listed_twice", "warning", "images are listed in more than one row", repeated)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _shared_sources(photos: Sequence[Photo]) -> Iterator[Finding]:
    train, dev, test = (
        {f"{photo.label}/{photo.source}" for photo in photos if photo.split == split} for split in get_args(Split)
    )
    if shared := sorted(train & (dev | test)):
        message = f"sources of dev or test are also in train: figures are not for unseen sources ({', '.join(shared)})"
        yield Finding("shared_sources", "warning", message, len(shared))
    if shared := sorted(dev & test):
        message = f"sources are in both dev and test: tuning on one makes the other optimistic ({', '.join(shared)})"
        yield Finding("tuned_sources", "info", message, len(shared))


def _crossing(photos: Sequence[Photo]) -> Iterator[tuple[str, str]]:
    """Yield for each group in several splits the first images of two of them."""
    members: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for photo in photos:
        members[photo.group].setdefault(photo.split, photo.path)
    for paths in members.values():
        if len(paths) > 1:
            first, second, *_ = paths.values()
            yield first, second


def _paths(photos: Sequence[Photo]) -> list[tuple[str, ...]]:
    return [(photo.path,) for photo in photos]


def _some(check: str, severity: Severity, message: str, examples: Sequence[tuple[str, ...]]) -> Iterator[Finding]:
    if examples:
        yield Finding(check, severity, message, len(examples), list(examples[:EXAMPLES]))
