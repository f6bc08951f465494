"""Facts about each image, taken once: does it decode, what is it, and what does it look like."""

import hashlib
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from handler.images import BadImageError, decode
from training.data.manifest import LABELS, Photo, Split

QUANTILES = {"least": 0.0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "most": 1.0}
BOUNDS = (0, 64, 128, 192, 256, 384, 512, 768, 1024, 2048)
"""Pixels, of the histogram of shorter sides."""


@dataclass(frozen=True)
class Facts:
    """An image that decodes: its upright size, its container, a digest of its pixels and a perceptual hash."""

    width: int
    height: int
    format: str
    digest: str
    look: int
    """64 bits of the DCT of its grey thumbnail (imagehash.phash); alike images differ in few."""


@dataclass(frozen=True)
class Broken:
    """An image that serving would refuse, or a missing file; `code` is serving's, or `missing`."""

    code: str


def inspect_all(root: Path, photos: Sequence[Photo], threads: int) -> list[Facts | Broken]:
    """Inspect every image, in order, with a progress bar."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        facts = pool.map(inspect, (root / photo.path for photo in photos))
        return list(track(facts, "looking at pictures", total=len(photos)))


def inspect(file: Path) -> Facts | Broken:
    """Decode an image as serving does and describe it."""
    if not file.is_file():
        return Broken("missing")
    data = file.read_bytes()
    try:
        picture = decode(data)
    except BadImageError as error:
        return Broken(error.code)
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
        "domains": {domain: _by_label([p for p in photos if p.domain == domain]) for domain in _domains(photos)},
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


def _domains(photos: Sequence[Photo]) -> list[str]:
    return [domain for domain, _ in Counter(photo.domain for photo in photos).most_common()]


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
