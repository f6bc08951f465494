"""CIFAKE (Bird and Lotfi 2023, arXiv 2303.14126): CIFAR-10 against Stable Diffusion 1.4, 32 px, one source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.progress import track

from training.data import LABELS, InvalidDataError, Photo
from training.params import DataParams
from training.sources import splits
from training.sources.hubs import Entry, Hub
from training.sources.transfer import HubUnavailableError

GENERATORS = {"real": "none", "ai_generated": "stable-diffusion-v1.4"}
TEST_SHARE = splits.SHARES["test"]
SUFFIX = {b"\x89PNG": ".png", b"RIFF": ".webp"}
"""By the first four bytes; what begins otherwise is JPEG, which CIFAKE was published as."""


def fill(params: DataParams, folder: Path, hubs: Sequence[Hub]) -> list[Photo]:
    """Write `per_class` images of each class, our test from CIFAKE's own; return their rows.

    The pick depends on `split_seed` and on the images' bytes, not on their order in a hub's files. All of it is one
    source: figures on its test split say nothing about others.

    Raises:
        HubUnavailableError: None of the hubs can be had; the message has each one's reason and says what to do.
        InvalidDataError: `per_class` is more than CIFAKE has.
    """
    entries = _first(hubs, params.root.with_name(f"{params.root.name}.download"))
    test = round(params.per_class * TEST_SHARE)
    ranked = _ranked(entries, params.split_seed)
    photos: list[Photo] = []
    for label in LABELS:
        for split, count in (("test", test), ("train", params.per_class - test)):
            chosen = ranked[label, split][:count]
            if len(chosen) < count:
                raise InvalidDataError(
                    f"CIFAKE has {len(chosen)} {label} pictures to {split} with: lower data.per_class"
                )
            photos += [_write(entry, folder) for entry in track(chosen, f"writing {label} of {split}")]
    known = {"train": 1 - 2 * TEST_SHARE, "dev": TEST_SHARE}
    test_photos = [photo for photo in photos if photo.split == "test"]
    return test_photos + splits.divide([p for p in photos if p.split == "train"], known, params.split_seed)


def _first(hubs: Sequence[Hub], cache: Path) -> list[Entry]:
    reasons = []
    for hub in hubs:
        try:
            return list(hub.entries(cache))
        except HubUnavailableError as error:
            reasons.append(str(error))
    raise HubUnavailableError(
        f"CIFAKE is unavailable ({'; '.join(reasons)}); set data.source to a folder of your own images, or "
        "to tiny for a small generated set (--set data.source=tiny)"
    )


def _ranked(entries: Iterable[Entry], seed: int) -> dict[tuple[str, str], list[Entry]]:
    """Sort each class of each split by a hash that the seed draws, each image once, rather in test."""
    ranked: dict[tuple[str, str], list[Entry]] = {(label, split): [] for label in LABELS for split in ("train", "test")}
    seen: set[bytes] = set()
    for entry in sorted(entries, key=lambda entry: (entry.split, hashlib.sha256(b"%d:" % seed + entry.data).digest())):
        if entry.data not in seen:
            seen.add(entry.data)
            ranked[entry.label, entry.split].append(entry)
    return ranked


def _write(entry: Entry, folder: Path) -> Photo:
    name = hashlib.sha256(entry.data).hexdigest()[:16] + SUFFIX.get(entry.data[:4], ".jpg")
    path = f"{entry.label}/{name}"
    (folder / entry.label).mkdir(exist_ok=True)
    (folder / path).write_bytes(entry.data)
    return Photo(path, entry.label, entry.split, "cifake", GENERATORS[entry.label], "cifar-10", path, "MIT")
