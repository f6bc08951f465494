"""Two gateways in front of one TorchServe and one Redis, all of which are killed under load and come back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.local.stack import LocalStack
from gateway.settings import Settings
from tests.checks import none
from tests.e2e.load import Load, steady
from tests.e2e.processes import PATIENCE_S, Gateway, processes, running_gateway, until
from tests.gateway.test_ratelimit_redis import SERVER, Redis

OPEN, CLOSED = "open", "closed"
"""The gateways, by what they do while Redis is away."""
DEADLINE_S = Settings.model_fields["predict_timeout_s"].default
REDIS_TIMEOUT_S = 2
MANY = 3
TOLERANCE_S = 2
"""What a busy machine adds to an answer's time."""

pytestmark = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateways(
    torchserve: dict[str, str], redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Gateway]]:
    logs = tmp_path_factory.mktemp("logs")
    settings = {
        **torchserve,
        "GATEWAY_REDIS_URL": redis.url,
        "redis_timeout_s": str(REDIS_TIMEOUT_S),
        "GATEWAY_PREDICT_RATE": "100000",
    }
    with ExitStack() as opened:
        yield {
            name: opened.enter_context(running_gateway(logs / f"{name}.log", GATEWAY_REDIS_FAILURE=name, **settings))
            for name in (OPEN, CLOSED)
        }


@pytest.mark.timeout(4 * PATIENCE_S)
def test_whatever_is_killed_clients_get_200_or_503_in_time_and_recovery_needs_no_hand(
    stack: LocalStack, gateways: dict[str, Gateway], redis: Redis, coffee: Path
) -> None:
    urls = {name: gateway.url for name, gateway in gateways.items()}
    with steady(urls, coffee.read_bytes(), clients_each=2) as load:
        _until_all_succeed(stack, load)
        _kill_a_worker(stack)
        _until_all_succeed(stack, load)
        _kill_redis(stack, load, redis)
        _until_all_succeed(stack, load)
        _kill_torchserve(stack, load)
        _until_all_succeed(stack, load)
    assert load.broken == []
    none((answer.undocumented for answer in load.answers if answer.undocumented), of=load.answers)
    assert {answer.status for answer in load.answers} == {200, 503}
    assert max(answer.came - answer.asked for answer in load.answers) < DEADLINE_S + REDIS_TIMEOUT_S + TOLERANCE_S
    assert [gateway.process.poll() for gateway in gateways.values()] == [None, None]


def _kill_a_worker(stack: LocalStack) -> None:
    before = processes("model_service_worker")
    before[0].kill()
    until(lambda: len(set(processes("model_service_worker")) - set(before)) == 1, stack)


def _kill_redis(stack: LocalStack, load: Load, redis: Redis) -> None:
    redis.stop()
    gone = time.monotonic()
    until(lambda: _answers(load, gone) >= MANY, stack)
    back = time.monotonic()
    assert set(load.between(gone, back, OPEN)) == {200}
    assert set(load.between(gone, back, CLOSED)) == {503}
    redis.start()


def _kill_torchserve(stack: LocalStack, load: Load) -> None:
    [server] = processes("org.pytorch.serve.ModelServer")
    os.killpg(server.pid, signal.SIGKILL)  # its workers with it
    gone = time.monotonic()
    until(lambda: _answers(load, gone) >= 1, stack)
    for name in (OPEN, CLOSED):
        assert set(load.between(gone, time.monotonic(), name)) == {503}


def _answers(load: Load, start: float) -> int:
    """How many answers there are from each gateway at least."""
    return min(len(load.between(start, time.monotonic(), name)) for name in (OPEN, CLOSED))


def _until_all_succeed(stack: LocalStack, load: Load) -> None:
    now = time.monotonic()
    until(lambda: all(load.succeeded_since(now, name) for name in (OPEN, CLOSED)), stack)
