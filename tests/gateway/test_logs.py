"""What strangers cause in the log has a rate, and no trouble with the log costs an answer."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.layout import ROOT, free_port
from gateway.context import REFUSALS_A_SECOND
from tests.e2e.processes import wait_until_up
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import picture, upload

pytestmark = pytest.mark.slow

FILES = {"file": upload(picture("JPEG"))}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("gateway.context.monotonic", clock)
    return clock


@pytest.mark.parametrize(("path", "status"), [("/predict", 401), ("/nowhere", 404)])
def test_refusals_have_a_rate_in_the_log_and_what_it_left_out_is_told(
    open_client: OpenClient, log_lines: LogLines, clock: Clock, path: str, status: int
) -> None:
    client = open_client(api_keys="alpha")
    for _ in range(REFUSALS_A_SECOND + 30):
        assert client.post(path, files=FILES).status_code == status
    served = client.post("/predict", files=FILES, headers={"X-API-Key": "alpha"})
    assert served.status_code == 200
    lines = log_lines()
    assert [line["status"] for line in lines] == [status] * REFUSALS_A_SECOND + [200]
    clock.now += 1.5
    client.post(path, files=FILES)
    told, line = log_lines()
    assert (told["event"], told["lines"], line["status"]) == ("refusals_not_logged", 30, status)


@pytest.fixture
def gateway() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A gateway whose log is a full disk."""
    port = str(free_port())
    environment = os.environ | {"GATEWAY_PORT": port, "API_KEYS": "alpha"}
    with (
        Path("/dev/full").open("wb") as full,
        subprocess.Popen([sys.executable, "-m", "gateway"], cwd=ROOT, env=environment, stderr=full) as process,
    ):
        wait_until_up(f"http://127.0.0.1:{port}", process)
        yield process, f"http://127.0.0.1:{port}"
        process.kill()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_log_disk_costs_no_answer_and_no_connection(gateway: tuple[subprocess.Popen[bytes], str]) -> None:
    process, url = gateway
    port = httpx.URL(url).port or 0
    statuses = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as kept:
        for path in ["/healthz", "/nowhere"] * 10:
            kept.request("GET", path)
            answer = kept.getresponse()
            answer.read()
            statuses.append(answer.status)
    assert statuses == [200, 404] * 10
    with socket.create_connection(("127.0.0.1", port)) as garbled:
        garbled.sendall(b"no HTTP\r\n\r\n")
        assert garbled.recv(1000).startswith(b"HTTP/1.1 400 ")
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    [dropped] = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "aidetect_log_lines_dropped_total"
    ]
    assert dropped >= 20
    process.terminate()
    assert process.wait(20) == 0
