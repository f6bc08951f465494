"""Rates: how many requests a minute a client may make, route by route, and how an answer tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

from limits import RateLimitItemPerMinute

from gateway.access.counting import Count, OwnCounters
from gateway.access.shared_counters import SharedCounters, StoreDownError
from gateway.api_key import ApiKey
from gateway.errors import RateLimitedError, UnavailableError
from gateway.settings import Settings

Bucket = Literal["predict", "batch", "explain"]
WINDOW_S: Final = 60
POLICY_HEADER: Final = "RateLimit-Policy"
LEFT_HEADER: Final = "RateLimit"


@dataclass(frozen=True)
class Rate:
    """Requests a minute in one bucket."""

    bucket: Bucket
    amount: int

    def policy_headers(self) -> dict[str, str]:
        """The rate itself, as in the IETF's draft-ietf-httpapi-ratelimit-headers."""
        return {POLICY_HEADER: f'"{self.bucket}";q={self.amount};w={WINDOW_S}'}

    def left_headers(self, counted: Count) -> dict[str, str]:
        """What is left of the rate, and the seconds until there is more."""
        return {LEFT_HEADER: f'"{self.bucket}";r={counted.remaining};t={counted.reset_s}'}

    def refusal(self, counted: Count) -> RateLimitedError:
        """The answer to a request over the rate."""
        detail = f"At most {self.amount} requests a minute. Please retry in {counted.reset_s} s."
        return RateLimitedError(detail, {"Retry-After": str(counted.reset_s)})


class RateLimiter:
    """Counts in Redis when there is one, else in this process, as it does while Redis is away and that is allowed."""

    def __init__(self, settings: Settings, shared: SharedCounters | None) -> None:
        self._settings = settings
        self._shared = shared
        self._own = OwnCounters()

    def rate(self, bucket: Bucket, key: ApiKey | None) -> Rate:
        """The rate in a bucket: the key's own, else the default."""
        own = key.rates.get(bucket) if key else None
        return Rate(bucket, own or self._settings.rates()[bucket])

    async def hit(self, rate: Rate, client: str) -> Count:
        """Count a request of a client.

        Raises:
            UnavailableError: Redis is away, and requests must not pass uncounted.
        """
        item = RateLimitItemPerMinute(rate.amount, namespace=rate.bucket)
        if self._shared is None:
            return self._own.hit(item, client)
        try:
            return await self._shared.hit(item, client)
        except StoreDownError as error:
            if self._settings.redis_failure == "closed":
                raise UnavailableError(
                    "The service is not available right now.", self._settings.retry_after_s
                ) from error
            return self._own.hit(item, client)


@asynccontextmanager
async def open_limiter(settings: Settings) -> AsyncIterator[RateLimiter]:
    """Build the limiter; Redis is not asked before the first request, so it may come up later than the gateway."""
    if settings.redis_url is None:
        yield RateLimiter(settings, None)
        return
    shared = SharedCounters(str(settings.redis_url.get_secret_value()), settings.redis_timeout_s)
    try:
        yield RateLimiter(settings, shared)
    finally:
        await shared.aclose()
