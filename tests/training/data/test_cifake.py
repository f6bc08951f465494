import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import huggingface_hub
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from tests.training.pictures import cifake
from training.data.sources import Entry, cifake_entries
from training.files import StageError

ENTRIES = cifake(train=3, test=1)


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)


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


FILES = {f"data/{split}-00000-of-00001.parquet": parquet(split) for split in ("train", "test")}


def served(files: dict[str, bytes], cut: int | None = None) -> None:
    """Let the hub's client talk to a hub that has these files, and breaks off after so many bytes."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        name = request.url.path.partition("/main/")[2] or request.url.path.partition(f"/{'c' * 40}/")[2]
        if name not in files:
            return httpx2.Response(404, headers={"x-error-code": "EntryNotFound"})
        digest, sent = hashlib.sha256(files[name]).hexdigest(), files[name]
        if request.method == "GET":
            sent = sent[:cut]
        headers = {"etag": f'"{digest}"', "x-repo-commit": "c" * 40, "content-length": str(len(sent))}
        return httpx2.Response(200, headers=headers, content=sent if request.method == "GET" else b"")

    huggingface_hub.set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(answer)))


@pytest.fixture(autouse=True)
def _own_client() -> Iterator[None]:
    yield
    huggingface_hub.close_session()
    huggingface_hub.set_client_factory(huggingface_hub.utils._http.default_client_factory)  # noqa: SLF001 - no public name


@pytest.mark.parametrize("names", [("FAKE", "REAL"), ("REAL", "FAKE")])
def test_hugging_face_gives_every_image_with_split_and_label_by_name(names: tuple[str, str], tmp_path: Path) -> None:
    served({name: parquet(name[5:].partition("-")[0], names) for name in FILES})
    assert in_order(cifake_entries(tmp_path)) == in_order(ENTRIES)


def test_a_file_that_the_hub_does_not_have_is_refused(tmp_path: Path) -> None:
    served({})
    with pytest.raises(StageError, match=r"^CIFAKE is unavailable \(Hugging Face: "):
        cifake_entries(tmp_path)


def test_a_file_that_comes_in_part_is_refused(tmp_path: Path) -> None:
    served(FILES, cut=100)
    with pytest.raises(StageError, match=r"^CIFAKE is unavailable \(Hugging Face: "):
        cifake_entries(tmp_path)
    assert list(tmp_path.glob("data/*.parquet")) == []


def test_an_unreachable_hub_is_told_in_one_line_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("[Errno -2] Name or service not known\nmore")

    monkeypatch.setattr("time.sleep", lambda _: None)  # between the client's attempts
    huggingface_hub.set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(unreachable)))
    with pytest.raises(StageError) as refused:
        cifake_entries(tmp_path)
    assert str(refused.value).startswith("CIFAKE is unavailable (Hugging Face: ")
    assert str(refused.value).endswith("tiny for a small generated set (--set data.source=tiny)")
    assert "\n" not in str(refused.value)
