"""Facts about each image, and what they say of the data: findings with severity, count and examples."""

import hashlib
import io
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from handler.images import BadImageError, decode
from training.checks.leaks import Leak, LeakReport
from training.data.manifest import LABELS, Photo, Split
from training.params import ValidateParams

QUANTILES = {"least": 0.0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "most": 1.0}
BOUNDS = (0, 64, 128, 192, 256, 384, 512, 768, 1024, 2048)
"""Pixels, of the histogram of shorter sides."""
Severity = Literal["error", "warning", "info"]
EXAMPLES = 12
MISSING = "missing"
MIN_MINORITY = 0.25
"""Share of a split's rarer class below which the split is called unbalanced."""
BLOCK = 512
"""Rows of the matrix of distances that are in memory at once."""
Pairs = NDArray[np.int64]
"""Shape (pairs, 2): indices of two images."""
EXACT: dict[str, tuple[Severity, str]] = {
    "duplicates_across_classes": ("error", "pairs of identical images have both labels"),
    "duplicates_across_splits": ("error", "pairs of identical images are in two splits"),
    "duplicates": ("warning", "pairs of identical images are in one split"),
}
NEAR: dict[str, tuple[Severity, str]] = {
    "near_duplicates_across_splits": ("error", "pairs of near-duplicates from different groups are in two splits"),
    "near_duplicates_across_classes": ("warning", "pairs of near-duplicates from different groups have both labels"),
    "near_duplicates": ("info", "pairs of near-duplicates from different groups are in one split"),
}


@dataclass(frozen=True)
class Facts:
    """An image that decodes: its upright size, its container, a digest of its pixels and a perceptual hash."""

    width: int
    height: int
    format: str
    digest: str
    look: int
    """64 bits of the DCT of its grey thumbnail (imagehash.phash); alike images differ in few."""


def inspect_all(root: Path, photos: Sequence[Photo], threads: int) -> list[Facts | str]:
    """Inspect every image, in order, with a progress bar."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        facts = pool.map(inspect, (root / photo.path for photo in photos))
        return list(track(facts, "checking images", total=len(photos)))


def inspect(file: Path) -> Facts | str:
    """Decode an image as serving does and describe it; return serving's code for why it cannot, or `MISSING`."""
    if not file.is_file():
        return MISSING
    data = file.read_bytes()
    try:
        picture = decode(data)
    except BadImageError as error:
        return error.code
    with Image.open(io.BytesIO(data)) as container:
        kind = str(container.format)
    digest = hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()
    return Facts(*picture.size, kind, digest, int(str(imagehash.phash(picture)), 16))


def summary(photos: Sequence[Photo], facts: Sequence[Facts]) -> dict[str, Any]:
    """Count images by split, source, generator, domain and licence, formats and sizes by class."""
    classes = [(label, [f for p, f in zip(photos, facts, strict=True) if p.label == label]) for label in LABELS]
    return {
        "splits": {split: _by_label([p for p in photos if p.split == split]) for split in get_args(Split)},
        "sources": _sources(photos),
        "generators": dict(Counter(p.generator for p in photos if p.label == LABELS[1]).most_common()),
        "domains": {
            domain: _by_label([p for p in photos if p.domain == domain])
            for domain, _ in Counter(photo.domain for photo in photos).most_common()
        },
        "licences": dict(Counter(photo.licence for photo in photos).most_common()),
        "formats": {label: dict(Counter(fact.format for fact in mine).most_common()) for label, mine in classes},
        "sizes": {label: _sizes(mine) for label, mine in classes if mine},
    }


def _by_label(photos: Sequence[Photo]) -> dict[str, int]:
    return {label: sum(photo.label == label for photo in photos) for label in LABELS}


def _sources(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    """One row a class and source: images in each split, groups, generators, domains and licences."""
    rows = []
    for label, source in sorted({(p.label, p.source) for p in photos}, key=lambda key: (LABELS.index(key[0]), key[1])):
        mine = [photo for photo in photos if (photo.label, photo.source) == (label, source)]
        splits = Counter(photo.split for photo in mine)
        row = {"label": label, "source": source} | {split: splits[split] for split in get_args(Split)}
        row["groups"] = len({photo.group for photo in mine})
        for name in ("generator", "domain", "licence"):
            row[name] = ", ".join(sorted({getattr(photo, name) for photo in mine}))
        rows.append(row)
    return rows


def _sizes(facts: Sequence[Facts]) -> dict[str, Any]:
    """Quantiles of the sides in pixels, the share of squares, and how many images have which shorter side."""
    width, height = (np.array([getattr(fact, name) for fact in facts]) for name in ("width", "height"))
    counts, _ = np.histogram(np.minimum(width, height), [*BOUNDS, np.inf])
    names = [f"{low} to {high - 1}" for low, high in itertools.pairwise(BOUNDS)] + [f"{BOUNDS[-1]} up"]
    return {
        "width": _quantiles(width),
        "height": _quantiles(height),
        "square": float((width == height).mean()),
        "shorter_side_histogram": dict(zip(names, counts.tolist(), strict=True)),
    }


def _quantiles(values: NDArray[np.int64]) -> dict[str, int]:
    return {name: int(np.quantile(values, share)) for name, share in QUANTILES.items()}


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
    places: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    members: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for photo in photos:
        places[photo.path].append((photo.label, photo.split))
        members[photo.group].setdefault(photo.split, photo.path)
    disputed = [(path,) for path, found in places.items() if len(set(found)) > 1]
    repeated = [(path,) for path, found in places.items() if len(found) > 1 and len(set(found)) == 1]
    crossing = [tuple(paths.values())[:2] for paths in members.values() if len(paths) > 1]
    yield from _some("disputed_pictures", "error", "images are listed with two labels or in two splits", disputed)
    yield from _some("listed_twice", "warning", "images are listed in more than one row", repeated)
    yield from _some("groups_across_splits", "error", "groups have images in more than one split", crossing)


def is_known(photo: Photo) -> bool:
    """Whether label and split are ours."""
    return photo.label in LABELS and photo.split in get_args(Split)


def integrity_findings(photos: Sequence[Photo], facts: Sequence[Facts | str]) -> Iterator[Finding]:
    """Name the images that are missing and those that serving would refuse."""
    broken = [(photo.path, fact) for photo, fact in zip(photos, facts, strict=True) if isinstance(fact, str)]
    missing = [(path,) for path, code in broken if code == MISSING]
    yield from _some("missing_pictures", "error", "images of the manifest are missing", missing)
    codes = Counter(code for _, code in broken if code != MISSING)
    refused = [(path,) for path, code in broken if code != MISSING]
    listed = ", ".join(f"{code} {count}" for code, count in codes.most_common())
    yield from _some("broken_pictures", "error", f"images cannot be used ({listed})", refused)


def balance_findings(photos: Sequence[Photo]) -> Iterator[Finding]:
    """Check that every split has both classes in like numbers, and that dev and test have sources of their own."""
    counts = Counter((photo.split, photo.label) for photo in photos)
    for split in get_args(Split):
        sizes = {label: counts[split, label] for label in LABELS}
        listed = " and ".join(f"{count} {label}" for label, count in sizes.items())
        if min(sizes.values()) == 0:
            yield Finding("absent_class", "error", f"split {split} lacks a class: {listed}", 1)
        elif min(sizes.values()) < MIN_MINORITY * sum(sizes.values()):
            yield Finding("unbalanced_classes", "warning", f"split {split} is unbalanced: {listed}", 1)
    train, dev, test = (
        {f"{photo.label}/{photo.source}" for photo in photos if photo.split == split} for split in get_args(Split)
    )
    if shared := sorted(train & (dev | test)):
        message = f"sources of dev or test are also in train: figures are not for unseen sources ({', '.join(shared)})"
        yield Finding("shared_sources", "warning", message, len(shared))
    if shared := sorted(dev & test):
        message = f"sources are in both dev and test: tuning on one makes the other optimistic ({', '.join(shared)})"
        yield Finding("tuned_sources", "info", message, len(shared))


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


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _paths(photos: Sequence[Photo]) -> list[tuple[str, ...]]:
    return [(photo.path,) for photo in photos]


def _some(check: str, severity: Severity, message: str, examples: Sequence[tuple[str, ...]]) -> Iterator[Finding]:
    if examples:
        yield Finding(check, severity, message, len(examples), list(examples[:EXAMPLES]))


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


def exact_findings(photos: Sequence[Photo], facts: Sequence[Facts]) -> Iterator[Finding]:
    """Compare images pixel by pixel: of each set of identical ones, the first with each other one."""
    equal: defaultdict[str, list[Photo]] = defaultdict(list)
    for photo, fact in zip(photos, facts, strict=True):
        equal[fact.digest].append(photo)
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for first, second in ((members[0], other) for members in equal.values() for other in members[1:]):
        if first.path == second.path:
            continue  # a matter of the manifest's rows, which another check reads
        if first.label != second.label:
            check = "duplicates_across_classes"
        else:
            check = "duplicates" if first.split == second.split else "duplicates_across_splits"
        found[check].append((first.path, second.path))
    for check, (severity, message) in EXACT.items():
        yield from _some(check, severity, message, found[check])


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


def leak_findings(report: LeakReport, limits: ValidateParams) -> Iterator[Finding]:
    """Hold the figures after the training pipeline against the limits; those of the files are worth knowing.

    Figures of unseen sources count. Where train has too few to hold any out, a leak on seen ones may be a trait of the
    class, so that it is a warning only.
    """
    metadata, statistics = report.metadata_after_pipeline, report.statistics_after_pipeline
    yield from _against_limit("metadata_leak", "file metadata", metadata, limits.max_metadata_auc)
    yield from _against_limit("statistics_leak", "pixel statistics", statistics, limits.max_statistics_auc)
    for check, what, leak in (
        ("metadata_of_files", "file metadata tell", report.metadata_of_files),
        ("scale_of_files", "stored size and scale factor tell", report.scale_of_files),
    ):
        if leak.across_sources:
            where = f"before the training pipeline, which is to take it away, {what} the label on unseen sources"
            yield from _over(check, "info", where, leak.across_sources.auc, limits.max_metadata_auc)


def _against_limit(check: str, what: str, leak: Leak, limit: float) -> Iterator[Finding]:
    what = f"after the training pipeline {what} tell"
    if leak.across_sources:
        yield from _over(check, "error", f"{what} the label on unseen sources", leak.across_sources.auc, limit)
        return
    if leak.within_sources:
        yield from _over(check, "warning", f"{what} the label on seen sources", leak.within_sources.auc, limit)
    message = f"train has too few sources of a class to say whether {what} the label of unseen ones"
    yield Finding(f"{check}_unmeasured", "warning", message, 1)


def _over(check: str, severity: Severity, what: str, auc: float, limit: float) -> Iterator[Finding]:
    if auc > limit:
        yield Finding(check, severity, f"{what}: AUC {auc:.3f}, at most {limit:g} allowed", 1)
