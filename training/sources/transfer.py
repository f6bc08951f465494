"""One large file over HTTP: resumed where it broke off, with a progress bar, checked before it gets its name."""

from __future__ import annotations

import base64
import hashlib
import re
from http import HTTPStatus
from pathlib import Path

import httpx
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn


class HubUnavailableError(RuntimeError):
    """A hub does not answer, refuses, or sends something unexpected; the message says which."""


def fetch(client: httpx.Client, url: str, target: Path, what: str) -> None:
    """Download a file unless it is there; what came before a connection broke stays beside it, for the next call.

    The size and, where the server gives one (`x-goog-hash`), the MD5 are checked.

    Raises:
        HubUnavailableError: The file did not come whole.
    """
    if target.is_file():
        return
    partial = target.with_name(f"{target.name}.part")
    have = partial.stat().st_size if partial.is_file() else 0
    try:
        with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                partial.unlink()
                raise HubUnavailableError(f"{what}: the file changed since its download began; try again")
            response.raise_for_status()
            _save(response, partial, what)
    except httpx.HTTPStatusError as error:
        raise HubUnavailableError(f"{what}: HTTP {error.response.status_code}") from error
    except httpx.HTTPError as error:
        raise HubUnavailableError(f"{what}: {str(error) or type(error).__name__}") from error
    _check(response, partial, what)
    partial.replace(target)


def _save(response: httpx.Response, partial: Path, what: str) -> None:
    resumed = response.status_code == HTTPStatus.PARTIAL_CONTENT
    partial.parent.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with partial.open("ab" if resumed else "wb") as file, Progress(*columns) as progress:
        task = progress.add_task(what, total=_size(response), completed=file.tell())
        for chunk in response.iter_bytes():
            file.write(chunk)
            progress.advance(task, len(chunk))


def _size(response: httpx.Response) -> int | None:
    """Bytes of the whole file, also where only its rest is sent."""
    if found := re.search(r"/(\d+)$", response.headers.get("content-range", "")):
        return int(found[1])
    length = response.headers.get("content-length")
    return None if length is None else int(length)


def _check(response: httpx.Response, partial: Path, what: str) -> None:
    size, have = _size(response), partial.stat().st_size
    if size is not None and have < size:
        raise HubUnavailableError(f"{what}: the connection broke at {have} of {size} bytes; try again to resume")
    with partial.open("rb") as file:
        md5 = base64.b64encode(hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()).decode()
    announced = re.findall(r"md5=([^,\s]+)", ",".join(response.headers.get_list("x-goog-hash")))
    if (size is not None and have > size) or (announced and md5 not in announced):
        partial.unlink()
        raise HubUnavailableError(f"{what}: the download does not match its announced size or hash; try again")
