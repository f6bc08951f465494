from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import structlog
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.settings import Settings
from tests.gateway.fakes import TorchServe

OpenClient = Callable[..., TestClient]
LogLines = Callable[[], list[dict[str, Any]]]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time as rates and the limit of logged refusals see it, which passes when a test says so."""
    clock = Clock()
    for reader in ("gateway.context", "gateway.ratelimit"):
        monkeypatch.setattr(f"{reader}.monotonic", clock)
    return clock


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    documented = {"API_KEYS", "API_KEYS_FILE", "REQUIRE_AUTH", "RATE_LIMIT_ENABLED", "SHADOW_VERSION"}
    for name in [name for name in os.environ if name.startswith(("GATEWAY_", "OTEL_")) or name in documented]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GATEWAY_DRIFT_FILE", ".")  # no window of one test in the next


@pytest.fixture(autouse=True)
def _own_log_configuration() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def torchserve() -> TorchServe:
    return TorchServe()


@pytest.fixture
def open_client(torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenClient]:
    """Start a gateway with some settings changed; unhandled exceptions become answers, as on a real server."""
    monkeypatch.setattr(Settings, "readiness_cache_s", 0.0)
    with ExitStack() as stack:

        def start(**changes: Any) -> TestClient:  # noqa: ANN401 - any setting
            app = create_app(Settings(**changes), torchserve.transport())
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield start


@pytest.fixture
def client(open_client: OpenClient) -> TestClient:
    return open_client()


@pytest.fixture
def log_lines(capsys: pytest.CaptureFixture[str]) -> LogLines:
    """What was logged since the last call, one dictionary a line."""
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
