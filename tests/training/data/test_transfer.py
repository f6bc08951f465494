from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from training.data.cifake import HubUnavailableError, fetch

CONTENT = bytes(range(256)) * 40
MD5 = base64.b64encode(hashlib.md5(CONTENT, usedforsecurity=False).digest()).decode()

Handler = Callable[[httpx.Request], httpx.Response]


class Server:
    """Serves CONTENT with ranges; breaks off after `limit` bytes."""

    def __init__(self, limit: int | None = None, md5: str = MD5) -> None:
        self.limit = limit
        self.md5 = md5
        self.ranges: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        wanted = request.headers.get("range")
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        headers = {"content-length": str(len(CONTENT) - start), "x-goog-hash": f"crc32c=AAAAAA==,md5={self.md5}"}
        if wanted:
            headers["content-range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        return httpx.Response(206 if wanted else 200, headers=headers, content=self._body(CONTENT[start:]))

    def _body(self, rest: bytes) -> Iterator[bytes]:
        yield rest[: self.limit]
        if self.limit is not None:
            raise httpx.ReadError("connection reset")


def get(handler: Handler, target: Path) -> None:
    with httpx.Client(transport=httpx.MockTransport(handler)) as client:
        fetch(client, "https://hub.test/file.zip", target, "Hub")


def test_a_file_comes_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    get(Server(), tmp_path / "new" / "file.zip")
    assert (tmp_path / "new" / "file.zip").read_bytes() == CONTENT
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_a_file_that_is_there_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file.zip").write_bytes(b"here")
    server = Server()
    get(server, tmp_path / "file.zip")
    assert server.ranges == []


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(HubUnavailableError, match=r"^Hub: connection reset$"):
        get(Server(limit=1000), tmp_path / "file.zip")
    assert not (tmp_path / "file.zip").exists()
    server = Server()
    get(server, tmp_path / "file.zip")
    assert server.ranges == ["bytes=1000-"]
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_the_file_anew(tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(b"old")
    get(lambda _: httpx.Response(200, content=CONTENT), tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_less_than_was_announced_is_told_and_kept(tmp_path: Path) -> None:
    short = httpx.Response(200, headers={"content-length": "10240"}, stream=httpx.ByteStream(CONTENT[:500]))
    with pytest.raises(HubUnavailableError, match=r"^Hub: the connection broke at 500 of 10240 bytes; try again"):
        get(lambda _: short, tmp_path / "file.zip")
    assert (tmp_path / "file.zip.part").stat().st_size == 500


def test_other_content_than_announced_is_thrown_away(tmp_path: Path) -> None:
    with pytest.raises(
        HubUnavailableError, match=r"^Hub: the download does not match its announced size or hash; try again$"
    ):
        get(Server(md5="AAAAAAAAAAAAAAAAAAAAAA=="), tmp_path / "file.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_is_longer_than_the_file_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(bytes(20_000))
    with pytest.raises(HubUnavailableError, match=r"the file changed since its download began; try again$"):
        get(lambda _: httpx.Response(416), tmp_path / "file.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refusal_is_told(status: int, tmp_path: Path) -> None:
    with pytest.raises(HubUnavailableError, match=f"^Hub: HTTP {status}$"):
        get(lambda _: httpx.Response(status), tmp_path / "file.zip")
    assert list(tmp_path.iterdir()) == []
