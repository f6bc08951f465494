"""Rate counters in Redis: bounded in time, and quiet while it is away."""

from __future__ import annotations

import asyncio
import math
from time import monotonic, time
from typing import Any, Final

import structlog
from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from gateway.access.counting import Count

_log: FilteringBoundLogger = structlog.get_logger()

KEY_PREFIX: Final = "gateway"
PAUSE_S: Final = 1.0
"""How long Redis is left alone after it failed; then one request tries it and the others do not wait."""
WARNING_INTERVAL_S: Final = 60.0


class StoreDownError(Exception):
    """Redis cannot be reached, refuses, or takes too long."""


class SharedCounters:
    """Counters that all gateways with the same Redis share."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = ConnectionPool.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),  # the client's own default waits for seconds between attempts
        )
        options: dict[str, Any] = {"connection_pool": self._pool}
        storage = RedisStorage(f"async+{url}", implementation="redispy", key_prefix=KEY_PREFIX, **options)
        self._limiter = MovingWindowRateLimiter(storage)
        self._down = False
        self._asked_again_at = -math.inf
        self._warned_at = -math.inf

    async def hit(self, item: RateLimitItem, client: str) -> Count:
        """Count a request of a client.

        Raises:
            StoreDownError: It could not be counted.
        """
        if not self._may_ask():
            raise StoreDownError
        try:
            async with asyncio.timeout(self._timeout_s):
                counted = await self._count(item, client)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(type(error).__name__)
            raise StoreDownError from error
        self._answered()
        return counted

    async def _count(self, item: RateLimitItem, client: str) -> Count:
        allowed = await self._limiter.hit(item, client)
        window = await self._limiter.get_window_stats(item, client)
        remaining = max(0, window.remaining) if allowed else 0
        # The window may have moved on between the two questions, and another gateway's clock may be ahead.
        reset_s = min(max(1, math.ceil(window.reset_time - time())), item.get_expiry())
        return Count(allowed, remaining, reset_s)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    def _may_ask(self) -> bool:
        now = monotonic()
        if now < self._asked_again_at:
            return False
        if self._down:
            self._asked_again_at = now + PAUSE_S
        return True

    def _failed(self, cause: str) -> None:
        now = monotonic()
        self._down, self._asked_again_at = True, now + PAUSE_S
        if now - self._warned_at >= WARNING_INTERVAL_S:
            self._warned_at = now
            _log.warning("rate_limit_store_down", cause=cause)

    def _answered(self) -> None:
        self._down, self._asked_again_at = False, -math.inf
