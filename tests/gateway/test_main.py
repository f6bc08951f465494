"""The real process on a real socket, with a real HTTP server in TorchServe's place."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import wait_until_up
from tests.gateway.evidence import hostile
from tests.gateway.fakes import VERDICT, picture, upload

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FILES = {"file": upload(picture("JPEG"))}
ASKED = threading.Event()


class SlowTorchServe(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        ASKED.set()
        time.sleep(0.5)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(VERDICT).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Keep quiet."""


@pytest.fixture
def torchserve_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), SlowTorchServe) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def gateway(torchserve_url: str, request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, listening where a test's parameter says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = getattr(request, "param", "127.0.0.1")
    environment = os.environ | {
        "GATEWAY_HOST": host,
        "GATEWAY_PORT": str(port),
        "GATEWAY_TORCHSERVE_URL": torchserve_url,
    }
    command = [sys.executable, "-m", "gateway"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_until_up(f"http://127.0.0.1:{port}", process)
        yield process, f"http://127.0.0.1:{port}"
        process.kill()


def test_sigterm_finishes_what_is_in_flight_and_exits_0(gateway: tuple[subprocess.Popen[str], str]) -> None:
    process, url = gateway
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(httpx.post, f"{url}/predict", files=FILES, trust_env=False)
        assert ASKED.wait(30)
        process.send_signal(signal.SIGTERM)
        response = answer.result(30)
    assert response.status_code == 200
    assert response.json()["inference_time_ms"] >= 500
    assert "server" not in response.headers
    _, logs = process.communicate(timeout=30)
    assert process.returncode == 0
    events = [json.loads(line) for line in logs.splitlines()]  # uvicorn's own lines are JSON too
    assert [event["path"] for event in events if event["event"] == "request"][-1] == "/predict"


def memory_of(process: subprocess.Popen[str], what: str) -> int:
    """A process's memory in MiB, now (VmRSS) or at most so far (VmHWM)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(what))


def seconds_of(process: subprocess.Popen[str]) -> float:
    """The processor time that a process has taken."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(180)
def test_small_files_with_huge_metadata_cost_neither_memory_nor_time(
    gateway: tuple[subprocess.Popen[str], str],
) -> None:
    # With namespaces expanded, 14 kB took the process from 124 to 1,293 MB, and 421 bytes cost 3.4 s.
    process, url = gateway
    assert httpx.post(f"{url}/predict?include=evidence", files=FILES).status_code == 200
    before, worst = memory_of(process, "VmRSS"), 0.0
    for name, data in hostile.pngs().items():
        started = seconds_of(process)
        answer = httpx.post(f"{url}/predict?include=evidence", files={"file": upload(data)}, timeout=60)
        assert answer.status_code == 200
        assert {finding["type"] for finding in answer.json()["evidence"]} <= {"incomplete"}, name
        worst = max(worst, seconds_of(process) - started)
    assert worst < 1.5
    assert memory_of(process, "VmHWM") - before < 50


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("gateway", ["::"], indirect=True)
def test_on_all_addresses_it_is_heard_on_both_families(gateway: tuple[subprocess.Popen[str], str]) -> None:
    _, url = gateway
    for host in ("127.0.0.1", "[::1]"):
        assert httpx.get(f"{url.replace('127.0.0.1', host)}/healthz", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("API_KEYS", ",", "gateway: API_KEYS: set but empty: list keys separated by commas, or unset it"),
        ("GATEWAY_PORT", "high", "gateway: GATEWAY_PORT: Input should be a valid integer"),
        ("GATEWAY_UPLOAD_BUDGET_BYTES", "9", "gateway: GATEWAY_UPLOAD_BUDGET_BYTES is 9: the largest batch needs"),
    ],
)
def test_a_setting_that_makes_no_sense_is_told_in_a_line(name: str, value: str, told: str) -> None:
    command = [sys.executable, "-m", "gateway"]
    ended = subprocess.run(
        command, cwd=ROOT, env=os.environ | {name: value}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(told)
    assert len(ended.stderr.splitlines()) == 1


def test_a_misspelt_setting_is_named_in_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PREDICT_RATES", "secret-value")
    monkeypatch.setenv("API_KEYS", ",")
    command = [sys.executable, "-m", "gateway"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    warning = json.loads(ended.stderr.splitlines()[0])
    assert (warning["event"], warning["level"]) == ("setting_unknown", "warning")
    assert (warning["variable"], warning["meant"]) == ("GATEWAY_PREDICT_RATES", "GATEWAY_PREDICT_RATE")
    assert "secret-value" not in ended.stderr
