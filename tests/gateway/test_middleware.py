from __future__ import annotations

import asyncio
import errno
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from gateway.app import create_app
from gateway.context import REFUSALS_A_SECOND, request_id
from gateway.middleware import RequestLayer
from gateway.services import open_services
from gateway.settings import Settings
from tests.gateway.conftest import Clock, LogLines, OpenClient
from tests.gateway.fakes import BareClient, TorchServe, multipart, picture, upload


@pytest.mark.parametrize("presented", ["a", "x" * 128, "with space & ~!", "8f14e45f"])
def test_a_printable_id_is_kept(client: TestClient, presented: str) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": presented}).headers["x-request-id"] == presented


@pytest.mark.parametrize("presented", [None, "", "  ", "x" * 129, "tab\there", "é", "\x7f", "a\nb"])
def test_any_other_id_is_replaced(presented: str | None) -> None:
    new = request_id(presented)
    assert len(new) == 32
    assert int(new, 16) >= 0
    assert new != request_id(presented)


def test_one_log_line_a_request(client: TestClient, log_lines: LogLines) -> None:
    client.get("/healthz?key=in-the-query", headers={"X-Request-ID": "trace-1"})
    client.get("/" + "x" * 500)
    line, long = log_lines()
    assert long["path"] == "/" + "x" * 199
    assert line.pop("duration_ms") >= 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "request_id": "trace-1",
        "method": "GET",
        "path": "/healthz",
        "status": 200,
    }


def test_a_batch_logs_its_counts_and_no_names(client: TestClient, log_lines: LogLines) -> None:
    files = [
        ("files", upload(picture("JPEG"), "secret-name.jpg")),
        ("files", upload(picture("GIF"), "secret-name.gif")),
    ]
    client.post("/predict/batch", files=files)
    (line,) = log_lines()
    assert (line["total"], line["failed"], line["model_version"]) == (2, 1, "1.0.0")
    assert "secret-name" not in str(line)


@pytest.mark.anyio
async def test_an_answer_that_breaks_off_is_not_mended(log_lines: LogLines, open_client: OpenClient) -> None:
    open_client()  # configures the logs
    sent: list[Message] = []

    async def breaking(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("halfway")

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    async with open_services(Settings(), None) as services:
        state = {"services": services}
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": state}
        with pytest.raises(RuntimeError, match="halfway"):
            await RequestLayer(breaking)(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert [line["event"] for line in log_lines()] == ["unhandled_exception", "request"]


@pytest.mark.anyio
async def test_what_the_stopping_server_cancels_is_answered_with_503(
    torchserve: TorchServe, log_lines: LogLines
) -> None:
    asked = asyncio.Event()

    async def endless(_: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.sleep(60)
        raise AssertionError

    torchserve.handler = endless
    bare = BareClient(create_app(Settings(), torchserve.transport()), "/predict", [multipart("file", picture("JPEG"))])
    request = asyncio.create_task(bare.run())
    await asyncio.wait_for(asked.wait(), 5)
    request.cancel()
    await request
    assert (bare.status, bare.answer_headers["retry-after"]) == (503, "5")
    assert bare.json() == {"error": "Service unavailable", "detail": "The service is stopping. Please retry."}
    assert [line["status"] for line in log_lines() if line["event"] == "request"] == [503]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_a_full_disk_and_too_many_open_files_are_503_and_no_bug(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(number, "of this machine")

    monkeypatch.setattr("gateway.uploads.is_quick", full)
    answer = client.post("/predict", files={"file": upload(picture("JPEG"))})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["detail"] == "The service has no room right now. Please retry."


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{SPAN}-01"


def test_the_log_line_names_the_trace(open_client: OpenClient, log_lines: LogLines) -> None:
    open_client().get("/healthz", headers={"traceparent": HEADER})
    (line,) = log_lines()
    assert (line["trace_id"], line["span_id"]) == (TRACE, SPAN)
    assert "logging.googleapis.com/trace" not in line
    open_client(trace_project_id="my-project-1").get("/healthz", headers={"traceparent": HEADER})
    (line,) = log_lines()
    assert line["logging.googleapis.com/trace"] == f"projects/my-project-1/traces/{TRACE}"
    assert line["logging.googleapis.com/spanId"] == SPAN
    assert line["logging.googleapis.com/trace_sampled"] is True


def test_every_line_of_a_request_names_the_trace(
    open_client: OpenClient, torchserve: TorchServe, log_lines: LogLines
) -> None:
    torchserve.always(500)
    open_client().post("/predict", files={"file": upload(picture("JPEG"))}, headers={"traceparent": HEADER})
    assert [(line["event"], line["trace_id"]) for line in log_lines()] == [
        ("model_server_trouble", TRACE),
        ("request", TRACE),
    ]


@pytest.mark.parametrize("header", [f"{HEADER}-x", f"cc-{TRACE}-{SPAN}-01-{'x' * 500}", "\xff"])
def test_nothing_of_a_bad_header_is_logged(open_client: OpenClient, log_lines: LogLines, header: str) -> None:
    client = open_client(trace_project_id="my-project-1")
    client.get("/healthz", headers=[(b"traceparent", header.encode("latin-1"))])
    (line,) = log_lines()
    assert "trace_id" not in line
    assert TRACE not in str(line)


@pytest.mark.parametrize(("path", "status"), [("/predict", 401), ("/nowhere", 404)])
def test_refusals_have_a_rate_in_the_log_and_what_it_left_out_is_told(
    open_client: OpenClient, log_lines: LogLines, clock: Clock, path: str, status: int
) -> None:
    client = open_client(api_keys="alpha")
    for _ in range(REFUSALS_A_SECOND + 30):
        assert client.post(path, files={"file": upload(picture("JPEG"))}).status_code == status
    served = client.post("/predict", files={"file": upload(picture("JPEG"))}, headers={"X-API-Key": "alpha"})
    assert served.status_code == 200
    lines = log_lines()
    assert [line["status"] for line in lines] == [status] * REFUSALS_A_SECOND + [200]
    clock.now += 1.5
    client.post(path, files={"file": upload(picture("JPEG"))})
    told, line = log_lines()
    assert (told["event"], told["lines"], line["status"]) == ("refusals_not_logged", 30, status)
