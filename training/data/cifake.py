"""CIFAKE (Bird and Lotfi 2023, arXiv 2303.14126): CIFAR-10 against Stable Diffusion 1.4, 32 px, one source."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]
from huggingface_hub import hf_hub_download
from rich.progress import track

from training.data import manifest
from training.data.manifest import LABELS, Photo
from training.files import StageError
from training.params import DataParams

REPOSITORY = "dragonintelligence/CIFAKE-image-dataset"
FILES = {"train": "data/train-00000-of-00001.parquet", "test": "data/test-00000-of-00001.parquet"}
"""By CIFAKE's own splits; with the columns image (bytes) and label (FAKE, REAL)."""
LABEL_OF = {"REAL": "real", "FAKE": "ai_generated"}
"""What CIFAKE calls our labels."""
GENERATORS = {"real": "none", "ai_generated": "stable-diffusion-v1.4"}
TEST_SHARE = manifest.SHARES["test"]
SUFFIX = {b"\x89PNG": ".png", b"RIFF": ".webp"}
"""By the first four bytes; what begins otherwise is JPEG, which CIFAKE was published as."""


@dataclass(frozen=True)
class Entry:
    """One image as it was published: the file's bytes, our label, and CIFAKE's own split, train or test."""

    data: bytes
    label: str
    split: str


def entries(cache: Path) -> list[Entry]:
    """Download the Parquet files from Hugging Face into the cache, or resume, and return every image.

    Raises:
        StageError: They are not to be had; the message says what to do.
    """
    try:
        files = [
            (split, hf_hub_download(REPOSITORY, name, repo_type="dataset", local_dir=cache))
            for split, name in FILES.items()
        ]
    except Exception as error:  # the hub's client raises its own, OSError's, and those of its HTTP library
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StageError(
            f"CIFAKE is unavailable (Hugging Face: {reason}); set data.source to a folder of your own images, or to "
            "tiny for a small generated set (--set data.source=tiny)"
        ) from error
    return [entry for split, file in files for entry in _read_parquet(Path(file), split)]


def _read_parquet(file: Path, split: str) -> Iterator[Entry]:
    table = pq.ParquetFile(file)
    described = json.loads((table.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    names = described.get("info", {}).get("features", {}).get("label", {}).get("names", ["FAKE", "REAL"])
    for batch in table.iter_batches(columns=["image", "label"]):
        for row in batch.to_pylist():
            yield Entry(row["image"]["bytes"], LABEL_OF[names[row["label"]]], split)


def fill(params: DataParams, folder: Path, published: Iterable[Entry]) -> list[Photo]:
    """Write `per_class` images of each class, our test from CIFAKE's own; return their rows.

    The pick depends on `split_seed` and on the images' bytes, not on their order in the hub's files. All of it is one
    source: figures on its test split say nothing about others.

    Raises:
        StageError: `per_class` is more than CIFAKE has.
    """
    test = round(params.per_class * TEST_SHARE)
    ranked = _ranked(published, params.split_seed)
    photos: list[Photo] = []
    for label in LABELS:
        for split, count in (("test", test), ("train", params.per_class - test)):
            chosen = ranked[label, split][:count]
            if len(chosen) < count:
                raise StageError(f"CIFAKE has {len(chosen)} {label} pictures to {split} with: lower data.per_class")
            photos += [_write(entry, folder) for entry in track(chosen, f"writing {label} of {split}")]
    known = {"train": 1 - 2 * TEST_SHARE, "dev": TEST_SHARE}
    test_photos = [photo for photo in photos if photo.split == "test"]
    return test_photos + manifest.divide([p for p in photos if p.split == "train"], known, params.split_seed)


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
