"""SIGTERM under load: what was accepted is answered, nobody else is let in, and the exit is a clean one in time."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from deploy.layout import HOST, free_port
from tests.e2e.processes import Gateway, running_gateway, until
from tests.gateway.fakes import VERDICT, multipart, picture
from tests.ui.fakes import served

BODY = multipart("file", picture("JPEG", (400, 300)))
HEADERS = {"Content-Type": "multipart/form-data; boundary=cut"}
UPLOADS = 24
"""More than the gateway's calls at the same time, so that some wait for their turn when the signal comes."""


class SlowModel:
    """Answers as TorchServe does, `seconds` after it was asked, and counts how often that was."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.asked = 0
        self.app = Starlette(routes=[Route("/predictions/{model}", self._predict, methods=["POST"])])

    async def _predict(self, request: Request) -> JSONResponse:
        await request.body()
        self.asked += 1
        await asyncio.sleep(self._seconds)
        return JSONResponse(VERDICT)


@contextmanager
def serving(model: SlowModel) -> Iterator[str]:
    port = free_port()
    with served(model.app, port):
        yield f"http://{HOST}:{port}"


@pytest.fixture
def model() -> SlowModel:
    return SlowModel(1.0)


@pytest.fixture
def gateway(tmp_path: Path, model: SlowModel) -> Iterator[Gateway]:
    settings = {"RATE_LIMIT_ENABLED": "false"}
    with serving(model) as url, running_gateway(tmp_path / "log", GATEWAY_TORCHSERVE_URL=url, **settings) as started:
        yield started


def accepted(gateway: Gateway) -> int:
    """How many connections it has."""
    port = httpx.URL(gateway.url).port
    return sum(
        connection.laddr.port == port and connection.status == psutil.CONN_ESTABLISHED
        for connection in psutil.Process(gateway.process.pid).net_connections("tcp")
    )


async def upload_in_halves(url: str, second_half: threading.Event) -> int:
    async def halves() -> AsyncIterator[bytes]:
        yield BODY[: len(BODY) // 2]
        await asyncio.to_thread(second_half.wait)
        yield BODY[len(BODY) // 2 :]

    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return (await client.post(f"{url}/predict", content=halves(), headers=HEADERS)).status_code


def test_sigterm_in_the_middle_of_many_uploads_loses_none_and_lets_no_new_one_in(
    gateway: Gateway, model: SlowModel
) -> None:
    second_half = threading.Event()
    unlimited = httpx.Limits(max_connections=None)
    with (
        ThreadPoolExecutor(UPLOADS + 1) as pool,
        httpx.Client(base_url=gateway.url, headers=HEADERS, timeout=60, limits=unlimited, trust_env=False) as client,
    ):
        slow = pool.submit(asyncio.run, upload_in_halves(gateway.url, second_half))
        answers = [pool.submit(client.post, "/predict", content=BODY) for _ in range(UPLOADS)]
        until(lambda: accepted(gateway) > UPLOADS and model.asked > 0)
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: refused(gateway.url))
        second_half.set()
        assert [answer.result().status_code for answer in answers] == [200] * UPLOADS
        assert slow.result() == 200
    assert gateway.process.wait(10) == 0
    assert model.asked == UPLOADS + 1


def refused(url: str) -> bool:
    """Whether nobody can connect any more."""
    address = httpx.URL(url)
    with socket.socket() as probe:
        return probe.connect_ex((address.host, address.port or 0)) == errno.ECONNREFUSED


def test_clients_that_are_let_in_are_told_to_leave_and_lose_nothing(gateway: Gateway) -> None:
    address = httpx.URL(gateway.url)
    all_are_in = threading.Barrier(5)

    def ask_on_and_on() -> set[int]:
        statuses: set[int] = set()
        with httpx.Client(base_url=gateway.url, trust_env=False) as client:
            client.get("/healthz")
            all_are_in.wait(30)
            while True:
                answer = client.get("/healthz")
                statuses.add(answer.status_code)
                if answer.headers.get("connection") == "close":
                    return statuses

    with (
        socket.create_connection((address.host, address.port or 0)) as silent,
        ThreadPoolExecutor(4) as pool,
    ):
        clients = [pool.submit(ask_on_and_on) for _ in range(4)]
        all_are_in.wait(30)  # after the silent one, so it is in as well
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: refused(gateway.url))
        silent.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b"".join(iter(lambda: silent.recv(4096), b""))
        assert [client.result() for client in clients] == [{200}] * 4
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b'{"alive":true}')
    assert gateway.process.wait(10) == 0


def test_requests_that_outlast_the_limit_get_503_and_do_not_hang_the_exit(tmp_path: Path) -> None:
    model = SlowModel(15)
    log, settings = tmp_path / "log", {"GATEWAY_SHUTDOWN_TIMEOUT_S": "1"}
    with serving(model) as url, running_gateway(log, GATEWAY_TORCHSERVE_URL=url, **settings) as gateway:
        address = httpx.URL(gateway.url)
        with (
            ThreadPoolExecutor(1) as pool,
            socket.create_connection((address.host, address.port or 0)) as stalled,
        ):
            stalled.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n")
            stalled.sendall(b"Content-Type: multipart/form-data; boundary=cut\r\n\r\n--cut\r\n")
            predicted = pool.submit(
                httpx.post, f"{gateway.url}/predict", content=BODY, headers=HEADERS, timeout=60, trust_env=False
            )
            until(lambda: model.asked > 0)
            started = time.monotonic()
            gateway.process.send_signal(signal.SIGTERM)
            answer = predicted.result()
            half = b"".join(iter(lambda: stalled.recv(4096), b""))
        assert gateway.process.wait(10) == 0
        assert 1 <= time.monotonic() - started < 8
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json() == {"error": "Service unavailable", "detail": "The service is stopping. Please retry."}
    assert half.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    logged = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    assert [line["status"] for line in logged if line["event"] == "request" and line["path"] == "/predict"] == [503] * 2
