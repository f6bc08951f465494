"""What reaches a collector and what does not; off costs nothing, and a dead collector is nobody's problem."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from pydantic import HttpUrl
from starlette.testclient import TestClient

from gateway import read_version
from gateway.app import create_app
from gateway.exporter import exporting
from gateway.settings import Settings
from tests.checks import none
from tests.e2e.processes import running_gateway
from tests.gateway.command.service import served
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import BareClient, TorchServe, multipart, picture, upload


@dataclass
class Collector:
    """Keeps the spans that it was sent, by name where names are unique."""

    url: str = ""
    status: int = 200
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    resource: dict[str, Any] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    raw: bytes = b""
    attempts: int = 0

    def take(self, request: httpx.Request) -> httpx.Response:
        self.attempts += 1
        self.headers = request.headers
        if self.status == 200:
            self.raw += request.content
            for group in ExportTraceServiceRequest.FromString(request.content).resource_spans:
                self.resource = attributes(group.resource)
                self.spans += [span for scope in group.scope_spans for span in scope.spans]
        return httpx.Response(self.status if request.url.path == "/v1/traces" else 404, text="taken")

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def attributes(of: Any) -> dict[str, Any]:  # noqa: ANN401 - a span or a resource
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in of.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    kept = Collector()
    with served(kept.take) as kept.url:
        yield kept


TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{PARENT}-01"
PREDICTIONS = "POST /predictions/product-photo-detector"
CALL = {
    "http.request.method": "POST",
    "server.address": "127.0.0.1",
    "server.port": 8085,
    "url.full": "http://127.0.0.1:8085/predictions/product-photo-detector",
    "http.response.status_code": 200,
}
PHOTO = {"file": upload(picture("JPEG"), "holiday-in-secret.jpg")}

Traced = Callable[..., TestClient]


@pytest.fixture
def traced(collector: Collector, torchserve: TorchServe) -> Traced:
    """A gateway whose spans all have arrived once its block has ended."""

    def build(**changes: Any) -> TestClient:  # noqa: ANN401 - any setting
        settings = Settings(**{"otlp_endpoint": collector.url, **changes})
        return TestClient(create_app(settings, torchserve.transport()), raise_server_exceptions=False)

    return build


def test_a_prediction_is_a_span_with_its_call_as_a_child(traced: Traced, collector: Collector) -> None:
    with traced() as client:
        assert client.post("/v1/predict", files=PHOTO).status_code == 200
    call, request = collector.spans  # in the order in which they ended
    assert (request.name, request.kind, request.parent_span_id) == ("POST /predict", Span.SPAN_KIND_SERVER, b"")
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
    }
    assert (call.name, call.kind) == (PREDICTIONS, Span.SPAN_KIND_CLIENT)
    assert (call.trace_id, call.parent_span_id) == (request.trace_id, request.span_id)
    assert attributes(call) == CALL
    assert request.start_time_unix_nano <= call.start_time_unix_nano <= call.end_time_unix_nano
    assert call.end_time_unix_nano <= request.end_time_unix_nano
    assert {request.status.code, call.status.code} == {Status.STATUS_CODE_UNSET}


def test_every_image_of_a_batch_is_a_child(traced: Traced, collector: Collector) -> None:
    files = [("files", upload(picture("JPEG", colour=colour))) for colour in ("red", "green", "blue")]
    with traced() as client:
        assert client.post("/predict/batch", files=files).status_code == 200
    (request,) = collector.named("POST /predict/batch")
    assert [span.parent_span_id for span in collector.named(PREDICTIONS)] == [request.span_id] * 3
    assert len(collector.spans) == 4


@pytest.mark.parametrize(("state", "passed_on"), [("vendor=1", "vendor=1"), (f"vendor={'1' * 506}", None)])
def test_the_trace_of_a_client_goes_on_to_the_model_server(
    traced: Traced, collector: Collector, torchserve: TorchServe, state: str, passed_on: str | None
) -> None:
    with traced() as client:
        client.post("/predict", files=PHOTO, headers={"traceparent": HEADER, "tracestate": state})
    call, request = collector.spans
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    (asked,) = torchserve.requests
    assert asked.headers["traceparent"] == f"00-{TRACE}-{call.span_id.hex()}-01"
    assert asked.headers.get("tracestate") == passed_on


@pytest.mark.parametrize("headers", [{"traceparent": HEADER}, {}, {"traceparent": f"{HEADER}-x"}])
def test_the_log_line_and_the_span_have_the_same_ids(
    traced: Traced, collector: Collector, log_lines: LogLines, headers: dict[str, str]
) -> None:
    with traced(trace_project_id="my-project-1") as client:
        client.get("/healthz", headers=headers)
    (span,) = collector.spans
    (line,) = log_lines()
    assert (line["trace_id"], line["span_id"]) == (span.trace_id.hex(), span.span_id.hex())
    assert line["logging.googleapis.com/trace_sampled"] is True


def test_what_a_client_does_not_sample_is_not_sent(
    traced: Traced, collector: Collector, torchserve: TorchServe, log_lines: LogLines
) -> None:
    with traced() as client:
        client.post("/predict", files=PHOTO, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert collector.spans == []
    (line,) = log_lines()
    assert line["trace_id"] == TRACE
    assert torchserve.requests[0].headers["traceparent"].split("-")[1::2] == [TRACE, "00"]


def test_a_failed_call_is_one_and_so_is_the_request(
    traced: Traced, collector: Collector, torchserve: TorchServe
) -> None:
    torchserve.always(507)
    with traced() as client:
        assert client.post("/predict", files=PHOTO).status_code == 503
    call, request = collector.spans
    assert attributes(call) == CALL | {"http.response.status_code": 507, "error.type": "507"}
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 503,
        "error.type": "service_unavailable",
    }
    assert {call.status.code, request.status.code} == {Status.STATUS_CODE_ERROR}
    assert (call.status.message, request.status.message, [*call.events, *request.events]) == ("", "", [])


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [("GET", "/secret-path", "GET"), ("BREW", "/healthz", "HTTP /healthz"), ("BREW", "/secret-path", "HTTP")],
)
def test_clients_cannot_make_new_names(traced: Traced, collector: Collector, method: str, path: str, name: str) -> None:
    with traced() as client:
        client.request(method, path)
    (span,) = collector.spans
    assert span.name == name
    assert attributes(span)["http.request.method"] == ("GET" if method == "GET" else "_OTHER")
    assert b"secret" not in collector.raw
    assert b"BREW" not in collector.raw


@pytest.mark.anyio
async def test_a_client_that_hangs_up_cancels_its_call(collector: Collector, torchserve: TorchServe) -> None:
    asked = asyncio.Event()

    async def never(_: httpx.Request) -> httpx.Response:
        asked.set()
        return await asyncio.Future()

    torchserve.handler = never
    app = create_app(Settings(otlp_endpoint=HttpUrl(collector.url)), torchserve.transport())
    client = BareClient(app, "/predict", [multipart("file", picture("JPEG"))])
    async with asyncio.TaskGroup() as group:
        group.create_task(client.run())
        await asked.wait()
        client.hang_up.set()
    call, request = collector.spans
    assert attributes(call)["error.type"] == "CancelledError"
    assert attributes(request)["http.response.status_code"] == 499
    assert request.status.code == Status.STATUS_CODE_UNSET


@pytest.mark.anyio
async def test_a_pipelined_request_is_no_child_of_the_one_before(collector: Collector) -> None:
    before = SpanContext(int(TRACE, 16), int(PARENT, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    client = BareClient(create_app(Settings(otlp_endpoint=HttpUrl(collector.url))), "/nowhere", [])
    with use_span(NonRecordingSpan(before)):
        await client.run()
    (span,) = collector.spans
    assert span.parent_span_id == b""
    assert span.trace_id.hex() != TRACE


def test_nothing_private_is_sent(traced: Traced, collector: Collector) -> None:
    with traced(api_keys="alpha-key", torchserve_url="http://user:hunter2@127.0.0.1:8085") as client:
        headers = {"X-API-Key": "alpha-key", "X-Forwarded-For": "203.0.113.9", "User-Agent": "agent-x"}
        assert client.post("/predict?note=query-x", files=PHOTO, headers=headers).status_code == 200
    private = [b"alpha-key", b"203.0.113.9", b"agent-x", b"query-x", b"holiday", b"testclient", b"hunter2"]
    none((word for word in private if word in collector.raw), of=collector.raw)
    assert len(collector.spans) == 2


@pytest.mark.parametrize(("variables", "name"), [({}, "ai-product-photo-detector"), ({"OTEL_SERVICE_NAME": "a"}, "a")])
def test_the_service_is_named_and_the_collector_gets_its_headers(
    traced: Traced, collector: Collector, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], name: str
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20dTpw,x-team = a=b")
    with traced() as client:
        client.get("/healthz")
    assert collector.resource["service.name"] == name
    assert collector.resource["service.version"] == read_version()
    assert collector.headers["authorization"] == "Basic dTpw"
    assert collector.headers["x-team"] == "a=b"


ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
OFF = """
import sys
import gateway.__main__
from gateway.app import create_app
from starlette.testclient import TestClient
with TestClient(create_app()) as client:
    assert client.get("/healthz").status_code == 200
ours = ("gateway.exporter", "opentelemetry.exporter", "opentelemetry.sdk.trace", "requests", "google.protobuf")
print(*(name for name in sys.modules if name.startswith(ours)))
"""


@pytest.fixture
def closed() -> Iterator[HttpUrl]:
    with socket.socket() as taken:  # bound and not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        yield HttpUrl(f"http://127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.slow
def test_nothing_that_sends_is_imported_when_off() -> None:
    # Redis's client imports OpenTelemetry's API for itself.
    command = [sys.executable, "-W", "error", "-c", OFF]
    done = subprocess.run(command, env=os.environ | {ENDPOINT: ""}, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.slow
def test_sigterm_sends_what_is_left_and_exits_0(collector: Collector, tmp_path: Path) -> None:
    with running_gateway(tmp_path / "log", **{ENDPOINT: collector.url}) as gateway:
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(60) == 0
    assert {span.name for span in collector.spans} == {"GET /healthz"}


@pytest.mark.slow
@pytest.mark.parametrize("headers", ["token=hunter2", "hunter1", "token=hunter2%0d%0aX: y", "=hunter"])
def test_a_dead_collector_costs_requests_nothing_and_logs_one_line(
    closed: HttpUrl, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch, headers: str
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")  # several batches fail within the test
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
    with TestClient(create_app(Settings(otlp_endpoint=closed))) as client:
        started = perf_counter()
        for _ in range(40):
            assert client.get("/healthz").status_code == 200
            sleep(0.01)
        took = perf_counter() - started
    lines = log_lines()
    assert [line["event"] for line in lines if line["event"] != "request"] == ["collector_trouble"]
    assert took < 10
    assert max(line["duration_ms"] for line in lines if line["event"] == "request") < 1000
    assert "hunter" not in str(lines)


def test_the_end_waits_a_moment_for_a_dead_collector_and_no_longer(closed: HttpUrl, log_lines: LogLines) -> None:
    settings = Settings(otlp_endpoint=closed, shutdown_timeout_s=1)
    client = TestClient(create_app(settings))
    with client:
        client.get("/healthz")
        started = perf_counter()
    assert 0.9 < perf_counter() - started < 8
    events: list[str] = []
    while "collector_trouble" not in events:  # the loss is told all the same
        events += [line["event"] for line in log_lines()]
        sleep(0.01)


@pytest.mark.anyio
async def test_trouble_and_recovery_are_logged_once_each(
    collector: Collector, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch, open_client: OpenClient
) -> None:
    open_client()  # configures the log
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    async with exporting(Settings(otlp_endpoint=HttpUrl(collector.url))) as tracer:
        for status, attempts in ((401, 3), (200, 5)):
            collector.status = status
            while collector.attempts < attempts:
                tracer.start_span("work").end()
                await asyncio.sleep(0.02)
    assert [(line["event"], line.get("status")) for line in log_lines()] == [
        ("collector_trouble", 401),
        ("collector_recovered", None),
    ]
