"""CIFAKE (Bird and Lotfi 2023, arXiv 2303.14126): CIFAR-10 against Stable Diffusion 1.4, 32 px, one source."""

import base64
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import httpx
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from huggingface_hub import HfApi, RepoFile, hf_hub_download
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn, track

from training.data import manifest
from training.data.manifest import LABELS, Photo
from training.files import StageError
from training.params import DataParams

LABEL_OF = {"REAL": "real", "FAKE": "ai_generated"}
"""What CIFAKE calls our labels."""
GENERATORS = {"real": "none", "ai_generated": "stable-diffusion-v1.4"}
TEST_SHARE = manifest.SHARES["test"]
SUFFIX = {b"\x89PNG": ".png", b"RIFF": ".webp"}
"""By the first four bytes; what begins otherwise is JPEG, which CIFAKE was published as."""


def fetch(client: httpx.Client, url: str, target: Path, what: str) -> None:
    """Download a file unless it is there; what came before a connection broke stays beside it, for the next call.

    Raises:
        StageError: The file did not come whole.
    """
    if target.is_file():
        return
    partial = target.with_name(f"{target.name}.part")
    have = partial.stat().st_size if partial.is_file() else 0
    try:
        with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                partial.unlink()
                raise StageError(f"{what}: the file changed since its download began; try again")
            response.raise_for_status()
            _save(response, partial, what)
    except httpx.HTTPStatusError as error:
        raise StageError(f"{what}: HTTP {error.response.status_code}") from error
    except httpx.HTTPError as error:  # as where less comes than was announced
        raise StageError(f"{what}: {str(error) or type(error).__name__}") from error
    partial.replace(target)


def _save(response: httpx.Response, partial: Path, what: str) -> None:
    resumed = response.status_code == HTTPStatus.PARTIAL_CONTENT
    partial.parent.mkdir(parents=True, exist_ok=True)
    length = response.headers.get("content-length")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with partial.open("ab" if resumed else "wb") as file, Progress(*columns) as progress:
        task = progress.add_task(what, total=int(length) + file.tell() if length else None, completed=file.tell())
        for chunk in response.iter_bytes():
            file.write(chunk)
            progress.advance(task, len(chunk))


@dataclass(frozen=True)
class Entry:
    """One image as it was published: the file's bytes, our label, and CIFAKE's own split, train or test."""

    data: bytes
    label: str
    split: str


class Hub(Protocol):
    """Somewhere that CIFAKE can be had from."""

    def entries(self, cache: Path) -> Iterable[Entry]:
        """Download into the cache, or resume, and yield every image.

        Raises:
            StageError: It cannot be had from here.
        """


class HuggingFace:
    """Parquet files with the columns image (bytes) and label (FAKE, REAL)."""

    REPOSITORY = "dragonintelligence/CIFAKE-image-dataset"
    FILES = (("train", "data/train-00000-of-00001.parquet"), ("test", "data/test-00000-of-00001.parquet"))

    def entries(self, cache: Path) -> Iterator[Entry]:
        """Download what is missing and yield every image."""
        folder = cache / "hugging_face"
        try:
            files = [(split, self._download(name, folder)) for split, name in self.FILES]
        except StageError:
            raise
        except Exception as error:  # the hub's client raises its own, OSError's, and those of its HTTP library
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise StageError(f"Hugging Face: {reason}") from error
        for split, file in files:
            yield from _read_parquet(file, split)

    def _download(self, name: str, folder: Path) -> Path:
        done = folder / f"{name}.verified"
        if done.is_file() and (folder / name).is_file():
            return folder / name
        found = HfApi().get_paths_info(self.REPOSITORY, name, repo_type="dataset")
        if not found or not isinstance(found[0], RepoFile):
            raise StageError(f"Hugging Face: {self.REPOSITORY} has no file {name}")
        file = Path(hf_hub_download(self.REPOSITORY, name, repo_type="dataset", local_dir=folder))
        if found[0].lfs is not None and manifest.sha256(file) != found[0].lfs.sha256:
            file.unlink()
            raise StageError(f"Hugging Face: {name} does not match its announced size or hash; try again")
        done.touch()
        return file


class Kaggle:
    """A zip with the folders train and test, each with REAL and FAKE."""

    URL = "https://www.kaggle.com/api/v1/datasets/download/birdy654/cifake-real-and-ai-generated-synthetic-images"

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        self.transport = transport

    def entries(self, cache: Path) -> Iterator[Entry]:
        """Download the zip, unless it is there, and yield every image."""
        file = cache / "kaggle" / "cifake.zip"
        options: dict[str, Any] = {"headers": _credentials(), "follow_redirects": True, "timeout": 30}
        with httpx.Client(transport=self.transport, **options) as client:
            try:
                fetch(client, self.URL, file, "Kaggle")
            except StageError as error:
                hint = "" if _credentials() else " (without KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY)"
                raise StageError(f"{error}{hint}") from error
        try:
            with zipfile.ZipFile(file) as archive:
                yield from _read_zip(archive)
        except (zipfile.BadZipFile, zlib.error) as error:  # a zip has checksums of what is in it
            file.unlink()
            raise StageError("Kaggle: the download is not a whole zip file; try again") from error


def _credentials() -> dict[str, str]:
    """Return a header of what Kaggle's own client reads from the environment, too; httpx keeps it from other hosts."""
    if token := os.environ.get("KAGGLE_API_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    user, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{key}'.encode()).decode()}"} if user and key else {}


def _read_parquet(file: Path, split: str) -> Iterator[Entry]:
    table = pq.ParquetFile(file)
    described = json.loads((table.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    names = described.get("info", {}).get("features", {}).get("label", {}).get("names", ["FAKE", "REAL"])
    for batch in table.iter_batches(columns=["image", "label"]):
        for row in batch.to_pylist():
            yield Entry(row["image"]["bytes"], LABEL_OF[names[row["label"]]], split)


def _read_zip(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for name in archive.namelist():
        *_, split, kind, file = ("", "", *PurePosixPath(name).parts)
        if kind in LABEL_OF and split in ("train", "test") and file:
            yield Entry(archive.read(name), LABEL_OF[kind], split)


def fill(params: DataParams, folder: Path, hubs: Sequence[Hub]) -> list[Photo]:
    """Write `per_class` images of each class, our test from CIFAKE's own; return their rows.

    The pick depends on `split_seed` and on the images' bytes, not on their order in a hub's files. All of it is one
    source: figures on its test split say nothing about others.

    Raises:
        StageError: None of the hubs can be had; the message has each one's reason and says what to do.
        StageError: `per_class` is more than CIFAKE has.
    """
    entries = _first(hubs, params.root.with_name(f"{params.root.name}.download"))
    test = round(params.per_class * TEST_SHARE)
    ranked = _ranked(entries, params.split_seed)
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


def _first(hubs: Sequence[Hub], cache: Path) -> list[Entry]:
    reasons = []
    for hub in hubs:
        try:
            return list(hub.entries(cache))
        except StageError as error:
            reasons.append(str(error))
    raise StageError(
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
