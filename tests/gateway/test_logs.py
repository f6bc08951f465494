"""What strangers cause in the log has a rate, and no trouble with the log costs an answer."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from gateway.context import REFUSALS_A_SECOND
from tests.e2e.processes import running_gateway
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import picture, upload
from tests.gateway.test_metrics import parsed

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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_log_disk_costs_no_answer_and_no_connection() -> None:
    with running_gateway(Path("/dev/full")) as gateway:
        url = httpx.URL(gateway.url)
        statuses = []
        with closing(http.client.HTTPConnection(url.host, url.port, timeout=10)) as kept:
            for path in ["/healthz", "/nowhere"] * 10:
                kept.request("GET", path)
                answer = kept.getresponse()
                answer.read()
                statuses.append(answer.status)
        assert statuses == [200, 404] * 10
        with socket.create_connection((url.host, url.port or 0)) as garbled:
            garbled.sendall(b"no HTTP\r\n\r\n")
            assert garbled.recv(1000).startswith(b"HTTP/1.1 400 ")
        found = parsed(httpx.get(f"{gateway.url}/metrics", trust_env=False).text)
        assert found["aidetect_log_lines_dropped_total", ()] >= 20
        gateway.process.terminate()
        assert gateway.process.wait(20) == 0
