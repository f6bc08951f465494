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

from tests.gateway.fakes import VERDICT, picture, upload

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
def gateway(torchserve_url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"GATEWAY_PORT": str(port), "GATEWAY_TORCHSERVE_URL": torchserve_url}
    command = [sys.executable, "-m", "gateway"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_until_up(f"http://127.0.0.1:{port}")
        yield process, f"http://127.0.0.1:{port}"
        process.kill()


def wait_until_up(url: str) -> None:
    for _ in range(200):
        try:
            httpx.get(f"{url}/healthz")
        except httpx.ConnectError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)


def test_sigterm_finishes_what_is_in_flight_and_exits_0(gateway: tuple[subprocess.Popen[str], str]) -> None:
    process, url = gateway
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(httpx.post, f"{url}/predict", files=FILES)
        assert ASKED.wait(5)
        process.send_signal(signal.SIGTERM)
        response = answer.result(5)
    assert response.status_code == 200
    assert response.json()["inference_time_ms"] >= 500
    assert "server" not in response.headers
    _, logs = process.communicate(timeout=5)
    assert process.returncode == 0
    events = [json.loads(line) for line in logs.splitlines()]  # uvicorn's own lines are JSON too
    assert [event["path"] for event in events if event["event"] == "request"][-1] == "/predict"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("API_KEYS", ",", "gateway: API_KEYS: it is set but holds no key: list keys with commas between them"),
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
