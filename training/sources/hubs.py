"""The two hubs that have CIFAKE, each as a stream of its images."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import httpx
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from huggingface_hub import HfApi, RepoFile, hf_hub_download

from training.sources.transfer import HubUnavailableError, fetch

LABEL_OF = {"REAL": "real", "FAKE": "ai_generated"}
"""What CIFAKE calls our labels."""


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
            HubUnavailableError: It cannot be had from here.
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
        except HubUnavailableError:
            raise
        except Exception as error:  # the hub's client raises its own, OSError's, and those of its HTTP library
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise HubUnavailableError(f"Hugging Face: {reason}") from error
        for split, file in files:
            yield from _read_parquet(file, split)

    def _download(self, name: str, folder: Path) -> Path:
        done = folder / f"{name}.verified"
        if done.is_file() and (folder / name).is_file():
            return folder / name
        found = HfApi().get_paths_info(self.REPOSITORY, name, repo_type="dataset")
        if not found or not isinstance(found[0], RepoFile):
            raise HubUnavailableError(f"Hugging Face: {self.REPOSITORY} has no file {name}")
        file = Path(hf_hub_download(self.REPOSITORY, name, repo_type="dataset", local_dir=folder))
        if found[0].lfs is not None and _sha256(file) != found[0].lfs.sha256:
            file.unlink()
            raise HubUnavailableError(f"Hugging Face: {name} does not match its announced size or hash; try again")
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
        with httpx.Client(transport=self.transport, auth=_credentials(), follow_redirects=True, timeout=30) as client:
            try:
                fetch(client, self.URL, file, "Kaggle")
            except HubUnavailableError as error:
                hint = "" if _credentials() else " (without KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY)"
                raise HubUnavailableError(f"{error}{hint}") from error
        try:
            with zipfile.ZipFile(file) as archive:
                yield from _read_zip(archive)
        except zipfile.BadZipFile as error:
            file.unlink()
            raise HubUnavailableError("Kaggle: the download is not a zip file; try again") from error


class _Token(httpx.Auth):
    def __init__(self, token: str) -> None:
        self.token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self.token}"
        yield request


def _credentials() -> httpx.Auth | None:
    """Return what Kaggle's own client reads from the environment, too; httpx keeps it from other hosts."""
    if token := os.environ.get("KAGGLE_API_TOKEN"):
        return _Token(token)
    user, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    return httpx.BasicAuth(user, key) if user and key else None


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


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
