from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.client import wire

Call = Callable[..., Any]


@pytest.fixture(params=[wire.sync_call, wire.async_call], ids=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    """Make one call with either client."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def check(call: Call) -> Call:
    """Check photos with either client."""
    return lambda handler, photos, **options: call(handler, "check", photos, **options)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were slept, without sleeping."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return slept
