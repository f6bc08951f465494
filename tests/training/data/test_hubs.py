from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import httpx2
import huggingface_hub
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from tests.training.pictures import cifake
from training.data.cifake import Entry, Hub, HuggingFace, Kaggle, fetch
from training.files import StageError

ENTRIES = cifake(train=3, test=1)


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def in_order(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.data)


def parquet(split: str, names: tuple[str, str] = ("FAKE", "REAL")) -> bytes:
    """A file as the hub has them: pictures as bytes with a path, labels as numbers, their names in the metadata."""
    chosen = [entry for entry in ENTRIES if entry.split == split]
    kinds = {"real": "REAL", "ai_generated": "FAKE"}
    table = pa.table(
        {
            "image": [{"bytes": entry.data, "path": None} for entry in chosen],
            "label": [names.index(kinds[entry.label]) for entry in chosen],
        }
    )
    features = {"label": {"names": list(names), "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    described = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(described), out)
    return out.getvalue()


class HubServer:
    """As much of the Hugging Face Hub as its client asks for."""

    def __init__(self, files: dict[str, bytes], announced: str | None = None) -> None:
        self.files = files
        self.announced = announced
        self.requests: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        self.requests.append(f"{request.method} {path.rpartition('/')[2]}")
        if path.endswith("/paths-info/main"):
            wanted = request.read().decode()
            found = [self._described(name) for name in self.files if name in wanted.replace("%2F", "/")]
            return httpx2.Response(200, json=found)
        name = path.partition("/main/")[2] or path.partition(f"/{'c' * 40}/")[2]
        if name not in self.files:
            return httpx2.Response(404, headers={"x-error-code": "EntryNotFound"})
        content = self.files[name]
        headers = {"etag": f'"{self._digest(name)}"', "x-repo-commit": "c" * 40, "content-length": str(len(content))}
        return httpx2.Response(200, headers=headers, content=b"" if request.method == "HEAD" else content)

    def _described(self, name: str) -> dict[str, object]:
        size, digest = len(self.files[name]), self._digest(name)
        lfs = {"oid": digest, "size": size, "pointerSize": 130}
        return {"type": "file", "path": name, "size": size, "oid": "0" * 40, "lfs": lfs}

    def _digest(self, name: str) -> str:
        return self.announced or hashlib.sha256(self.files[name]).hexdigest()


FILES = {f"data/{split}-00000-of-00001.parquet": parquet(split) for split in ("train", "test")}


def served(server: HubServer) -> None:
    huggingface_hub.set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(server)))


@pytest.fixture(autouse=True)
def _own_client() -> Iterator[None]:
    yield
    huggingface_hub.close_session()
    huggingface_hub.set_client_factory(huggingface_hub.utils._http.default_client_factory)  # noqa: SLF001 - no public name


@pytest.mark.parametrize("names", [("FAKE", "REAL"), ("REAL", "FAKE")])
def test_hugging_face_gives_every_image_with_split_and_label_by_name(names: tuple[str, str], tmp_path: Path) -> None:
    served(HubServer({name: parquet(name[5:].partition("-")[0], names) for name in FILES}))
    assert in_order(list(HuggingFace().entries(tmp_path))) == in_order(ENTRIES)


@pytest.mark.parametrize(
    ("server", "message"),
    [
        (HubServer(FILES, announced="0" * 64), r"data/train-.*parquet does not match its announced size or hash"),
        (HubServer({}), r".*CIFAKE-image-dataset has no file data/train-"),
    ],
)
def test_a_file_of_another_checksum_or_name_is_refused(server: HubServer, message: str, tmp_path: Path) -> None:
    served(server)
    with pytest.raises(StageError, match=f"^Hugging Face: {message}"):
        list(HuggingFace().entries(tmp_path))
    assert list(tmp_path.rglob("*.parquet")) == []


def test_an_unreachable_hugging_face_is_told_in_one_line(tmp_path: Path) -> None:
    def unreachable(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("[Errno -2] Name or service not known\nmore")

    huggingface_hub.set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(unreachable)))
    with pytest.raises(StageError) as refused:
        list(HuggingFace().entries(tmp_path))
    assert str(refused.value) == "Hugging Face: [Errno -2] Name or service not known"


def archive() -> bytes:
    out = io.BytesIO()
    kinds = {"real": "REAL", "ai_generated": "FAKE"}
    with zipfile.ZipFile(out, "w") as file:
        for number, entry in enumerate(ENTRIES):
            file.writestr(f"{entry.split}/{kinds[entry.label]}/{number:04} (2).jpg", entry.data)
        file.writestr("README.md", "about")
    return out.getvalue()


def spoiled(zipped: bytes) -> bytes:
    """Return the archive with a byte of its first image changed."""
    return zipped[:200] + bytes([zipped[200] ^ 1]) + zipped[201:]


class KaggleServer:
    """Kaggle's address sends on to a storage of another host."""

    def __init__(self, content: bytes, status: int = 200) -> None:
        self.content = content
        self.status = status
        self.seen: list[tuple[str, str | None]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.url.host, request.headers.get("authorization")))
        if request.url.host == "www.kaggle.com":
            return httpx.Response(302, headers={"location": "https://storage.test/signed"})
        return httpx.Response(self.status, content=self.content)


def kaggle(server: KaggleServer) -> Hub:
    return Kaggle(httpx.MockTransport(server))


def test_kaggle_gives_every_picture_with_label_and_split(tmp_path: Path) -> None:
    assert in_order(list(kaggle(KaggleServer(archive())).entries(tmp_path))) == in_order(ENTRIES)


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({"KAGGLE_API_TOKEN": "abc"}, "Bearer abc"),
        ({"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "key"}, "Basic bWU6a2V5"),
        ({"KAGGLE_USERNAME": "me"}, None),
    ],
)
def test_kaggle_gets_the_credentials_and_its_storage_does_not(
    variables: dict[str, str], header: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    server = KaggleServer(archive())
    list(kaggle(server).entries(tmp_path))
    assert server.seen == [("www.kaggle.com", header), ("storage.test", None)]


def test_a_refusal_without_credentials_names_the_variables(tmp_path: Path) -> None:
    with pytest.raises(StageError) as refused:
        list(kaggle(KaggleServer(b"", status=403)).entries(tmp_path))
    assert str(refused.value) == ("Kaggle: HTTP 403 (without KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY)")


@pytest.mark.parametrize("damage", [lambda _: b"<html>sign in</html>", lambda zipped: zipped[:-9], spoiled])
def test_what_is_no_whole_zip_is_thrown_away(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^Kaggle: the download is not a whole zip file; try again$"):
        list(kaggle(KaggleServer(damage(archive()))).entries(tmp_path))
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


CONTENT = bytes(range(256)) * 40

Handler = Callable[[httpx.Request], httpx.Response]


class Server:
    """Serves CONTENT with ranges; breaks off after `limit` bytes."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.ranges: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        wanted = request.headers.get("range")
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        headers = {"content-length": str(len(CONTENT) - start)}
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
    with pytest.raises(StageError, match=r"^Hub: connection reset$"):
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


def test_a_part_that_is_longer_than_the_file_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(bytes(20_000))
    with pytest.raises(StageError, match=r"the file changed since its download began; try again$"):
        get(lambda _: httpx.Response(416), tmp_path / "file.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refusal_is_told(status: int, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=f"^Hub: HTTP {status}$"):
        get(lambda _: httpx.Response(status), tmp_path / "file.zip")
    assert list(tmp_path.iterdir()) == []
