"""Gateways that count together in a real Redis, which goes away and comes back."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gateway.settings import Settings
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import picture, upload

SERVER = shutil.which("redis-server")
FILES = {"file": upload(picture("JPEG"))}
PAUSE_S = 0.05

pytestmark = [pytest.mark.slow, pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")]


class Redis:
    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._folder = folder
        self.start()

    @property
    def url(self) -> str:
        return f"redis://:hunter2@127.0.0.1:{self.port}"

    def start(self) -> None:
        options = f"--bind 127.0.0.1 --port {self.port} --requirepass hunter2 --appendonly no --save".split()
        command = [SERVER or "", *options, ""]
        self.process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise TimeoutError

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    monkeypatch.setattr("gateway.ratelimit.PAUSE_S", PAUSE_S)
    monkeypatch.setattr(Settings, "redis_timeout_s", 10.0)  # a busy machine must not look like a Redis that is away
    server = Redis(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def _hasty(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - after the patience for it
    monkeypatch.setattr(Settings, "redis_timeout_s", 1.0)


def predict(client: TestClient) -> int:
    return client.post("/predict", files=FILES).status_code


def down_lines(lines: list[dict[str, object]]) -> list[object]:
    return [line["cause"] for line in lines if line["event"] == "rate_limit_store_down"]


def test_two_gateways_enforce_one_quota(redis: Redis, open_client: OpenClient) -> None:
    one, two = (open_client(redis_url=redis.url, predict_rate=3) for _ in range(2))
    assert [predict(one), predict(two), predict(one)] == [200, 200, 200]
    for client in (one, two):
        answer = client.post("/v1/predict", files=FILES)
        assert answer.status_code == 429
        assert answer.headers["ratelimit-policy"] == '"predict";q=3;w=60'
        assert answer.headers["ratelimit"].startswith('"predict";r=0;t=')
        assert answer.headers["ratelimit"].endswith(f";t={answer.headers['retry-after']}")
        assert 1 <= int(answer.headers["retry-after"]) <= 60


@pytest.mark.parametrize(("failure", "status"), [("open", 200), ("closed", 503)])
def test_a_redis_that_dies_is_answered_as_set_and_needs_no_hand_when_it_is_back(
    redis: Redis, open_client: OpenClient, log_lines: LogLines, failure: str, status: int
) -> None:
    one, two = (open_client(redis_url=redis.url, redis_failure=failure, predict_rate=5) for _ in range(2))
    assert [predict(one), predict(two)] == [200, 200]
    redis.stop()
    assert [predict(one), predict(one), predict(one)] == [status, status, status]
    time.sleep(PAUSE_S)
    assert predict(one) == status
    lines = log_lines()
    assert down_lines(lines) == ["ConnectionError"]
    assert "hunter2" not in str(lines)
    redis.start()  # empty, as after a loss
    time.sleep(PAUSE_S)
    assert [predict(client) for client in (one, two, one, two, one)] == [200, 200, 200, 200, 200]
    assert [predict(one), predict(two)] == [429, 429]


@pytest.mark.parametrize(("failure", "status"), [("open", 200), ("closed", 503)])
@pytest.mark.usefixtures("_hasty")
def test_a_redis_that_hangs_costs_its_timeout_and_no_more(
    redis: Redis, open_client: OpenClient, log_lines: LogLines, failure: str, status: int
) -> None:
    client = open_client(redis_url=redis.url, redis_failure=failure, predict_rate=5)
    assert predict(client) == 200
    redis.process.send_signal(signal.SIGSTOP)
    started = time.perf_counter()
    assert [predict(client), predict(client)] == [status, status]
    assert 1 <= time.perf_counter() - started < 5
    assert down_lines(log_lines()) == ["TimeoutError"]
    redis.process.send_signal(signal.SIGCONT)
    time.sleep(PAUSE_S)
    assert predict(client) == 200


def test_a_redis_that_comes_up_after_the_gateway_is_found(redis: Redis, open_client: OpenClient) -> None:
    redis.stop()
    client = open_client(redis_url=redis.url, redis_failure="closed", predict_rate=1)
    assert predict(client) == 503
    redis.start()
    time.sleep(PAUSE_S)
    assert [predict(client), predict(client)] == [200, 429]


def test_a_wrong_password_is_redis_being_away(redis: Redis, open_client: OpenClient, log_lines: LogLines) -> None:
    url = redis.url.replace("hunter2", "wrong")
    assert predict(open_client(redis_url=url, redis_failure="closed")) == 503
    lines = log_lines()
    assert down_lines(lines) == ["AuthenticationError"]
    assert "wrong" not in str(lines)
