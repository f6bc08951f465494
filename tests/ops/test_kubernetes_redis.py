"""Redis, really started with the arguments that the manifest has."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from stack.layout import HOST, free_port
from tests.ops.kubernetes_manifests import PASSWORD, PODS

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    said, port = PODS["redis"].containers()["redis"], free_port()
    words = [word.replace("$(REDIS_PASSWORD)", PASSWORD["REDIS_PASSWORD"]) for word in said["command"] + said["args"]]
    with subprocess.Popen(
        [*words, "--bind", HOST, "--port", str(port)], cwd=tmp_path, stdout=subprocess.DEVNULL
    ) as server:
        until_it_listens(port)
        yield port
        server.terminate()
    assert server.returncode == 0


def until_it_listens(port: int) -> None:
    for _ in range(400):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.01)
    raise TimeoutError


def test_nobody_without_the_password_gets_in(port: int) -> None:
    with Redis(port=port, retry=Retry(NoBackoff(), 0)) as client, pytest.raises(AuthenticationError):
        client.ping()


def test_it_forgets_the_oldest_quotas_first_and_keeps_nothing_on_a_disk(port: int, tmp_path: Path) -> None:
    with Redis(port=port, password=PASSWORD["REDIS_PASSWORD"], decode_responses=True) as client:
        client.set("gateway:shop", 1)
        names = ("save", "appendonly", "maxmemory", "maxmemory-policy")
        kept = {name: client.config_get(name)[name] for name in names}
    assert kept == {"save": "", "appendonly": "no", "maxmemory": str(64 * 1024**2), "maxmemory-policy": "volatile-ttl"}
    assert list(tmp_path.iterdir()) == []
