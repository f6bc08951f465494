"""TorchServe as a container's process; tests/deploy/test_images.py starts it for real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.layout import Layout, StackError, free_port
from deploy.torchserve.container import check, prepare
from deploy.torchserve.process import ARCHIVE, address
from tests.deploy.fake_torchserve import pack
from tests.gateway.command.service import served

KEYS = {"management": {"key": "m-token"}, "inference": {"key": "i-token"}}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    pack(tmp_path / ARCHIVE, "1.1.0")
    return Layout(var=tmp_path / "var", store=tmp_path)


@contextmanager
def management(layout: Layout, answer: object) -> Iterator[list[str]]:
    """A management API that answers so, and what it was sent."""
    asked = list[str]()

    def answered(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.url.path} {request.headers['Authorization']}")
        return httpx.Response(200, json=answer)

    with served(answered) as url:
        running(layout, httpx.URL(url).port or 0)
        yield asked


def running(layout: Layout, port: int) -> None:
    layout.torchserve.mkdir(parents=True)
    layout.config.write_text(f"management_address=http://127.0.0.1:{port}\n")
    layout.key_file.write_text(json.dumps(KEYS))


@pytest.mark.parametrize("words", [{"listen": "0.0.0.0"}, {"listen_metrics": "0.0.0.0"}], ids=str)  # noqa: S104 - only written down
def test_inferences_and_metrics_or_metrics_alone_are_for_others_and_management_is_not(
    layout: Layout, words: dict[str, str]
) -> None:
    prepare(layout, **words)
    listening = [address(layout.config, api) for api in ("inference", "management", "metrics")]
    inferences = words.get("listen", "127.0.0.1")
    assert listening == [f"http://{inferences}:8085", "http://127.0.0.1:8086", "http://0.0.0.0:8087"]
    assert "disable_token_authorization=false" in layout.config.read_text()


def test_what_an_earlier_start_left_in_mounted_folders_goes(layout: Layout) -> None:
    running(layout, 1)
    (layout.unpacked / "1f2e").mkdir(parents=True)
    prepare(layout, "127.0.0.1")
    assert [file.name for file in layout.torchserve.iterdir()] == ["config.properties"]
    assert list((layout.var / "tmp").iterdir()) == []


def test_it_serves_when_one_worker_is_ready(layout: Layout) -> None:
    with management(layout, [{"workers": [{"status": "UNLOADING"}, {"status": "READY"}]}]) as asked:
        check(layout)
    assert asked == ["/models/product-photo-detector Bearer m-token"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([{"workers": []}], "no worker is ready"),
        ([{"workers": [{"status": "UNLOADING"}]}], "no worker is ready"),
        ({"code": 404, "type": "ModelNotFoundException"}, "TorchServe's status could not be read"),
    ],
)
def test_it_does_not_serve_without_a_ready_worker(layout: Layout, answer: object, message: str) -> None:
    with management(layout, answer), pytest.raises(StackError, match=message):
        check(layout)


@pytest.mark.parametrize(("started", "why"), [(True, "ConnectionRefusedError"), (False, "FileNotFoundError")])
def test_it_does_not_serve_before_it_has_written_its_files_and_listens(
    layout: Layout, *, started: bool, why: str
) -> None:
    if started:
        running(layout, free_port())
    with pytest.raises(StackError, match=rf"TorchServe's status could not be read \({why}\)"):
        check(layout)
