"""Off costs nothing, a missing package is named, and a dead collector is nobody's problem."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, sleep

import pytest
from pydantic import HttpUrl
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.settings import Settings
from gateway.tracing import exporting
from tests.e2e.processes import running_gateway
from tests.gateway.collector import Collector, open_collector
from tests.gateway.conftest import LogLines, OpenClient

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
OFF = """
import sys
import gateway.__main__
from gateway.app import create_app
from starlette.testclient import TestClient
with TestClient(create_app()) as client:
    assert client.get("/healthz").status_code == 200
ours = ("gateway.tracing", "opentelemetry.exporter", "opentelemetry.sdk.trace", "requests", "google.protobuf")
print(*(name for name in sys.modules if name.startswith(ours)))
"""
MISSING = """
import sys
sys.modules["opentelemetry"] = None
import gateway.__main__
gateway.__main__.main()
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with open_collector() as collector:
        yield collector


@pytest.fixture
def closed() -> Iterator[HttpUrl]:
    with socket.socket() as taken:  # bound and not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        yield HttpUrl(f"http://127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.parametrize(
    ("endpoint", "blocked"),
    [({}, 'import sys\nsys.modules["opentelemetry"] = None\n'), ({ENDPOINT: ""}, "")],
    ids=["not installed", "empty setting"],
)
def test_nothing_of_it_is_imported_when_off(endpoint: dict[str, str], blocked: str) -> None:
    # Redis's client imports OpenTelemetry's API for itself where it is installed.
    command = [sys.executable, "-W", "error", "-c", blocked + OFF]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | endpoint, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_a_missing_package_is_named_at_the_start() -> None:
    environment = os.environ | {ENDPOINT: "http://127.0.0.1:4318", "GATEWAY_PORT": "0"}
    command = [sys.executable, "-c", MISSING]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed." in done.stderr
    assert "pip install 'ai-product-photo-detector[gateway,tracing]'" in done.stderr


def test_sigterm_sends_what_is_left_and_exits_0(collector: Collector, tmp_path: Path) -> None:
    with running_gateway(tmp_path / "log", **{ENDPOINT: collector.url}) as gateway:
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(60) == 0
    assert {span.name for span in collector.spans} == {"GET /healthz"}


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
    async with exporting(Settings(otlp_endpoint=HttpUrl(collector.url)), "name", "1.0") as tracer:
        for status, attempts in ((401, 3), (200, 5)):
            collector.status = status
            while collector.attempts < attempts:
                tracer.start_span("work").end()
                await asyncio.sleep(0.02)
    assert [(line["event"], line.get("status")) for line in log_lines()] == [
        ("collector_trouble", 401),
        ("collector_recovered", None),
    ]
