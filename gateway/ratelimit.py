"""Rates: how many requests a minute a client may make, route by route, and how an answer tells it."""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Network, ip_address
from time import monotonic, time
from typing import Any, Final, Literal, NamedTuple

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio import storage, strategies
from pydantic import RedisDsn, Secret
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from starlette.requests import HTTPConnection

from gateway.context import ApiKey
from gateway.errors import UnavailableError
from gateway.settings import Settings

_log = structlog.get_logger()
KEY_PREFIX: Final = "gateway"
PAUSE_S: Final = 1.0
"""How long Redis is left alone after it failed; then one request tries it and the others do not wait."""
WARNING_INTERVAL_S: Final = 60.0
Bucket = Literal["predict", "batch", "explain"]
WINDOW_S: Final = 60
IPV6_SITE_BITS: Final = 64
"""One customer's line has at least this network, so counting single addresses would count nothing."""


class Count(NamedTuple):
    """Whether a request was within the rate, how many more are, and the seconds until there is one more again."""

    allowed: bool
    remaining: int
    reset_s: int


class OwnCounters:
    """Counters of this process; the ones in `limits` follow the wall clock, and look at every client each time."""

    def __init__(self) -> None:
        self._windows: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def hit(self, item: RateLimitItem, client: str) -> Count:
        """Count a request of a client; one over the rate is not counted, so that hammering does not shut it out."""
        now, window_s, name = monotonic(), item.get_expiry(), item.key_for(client)
        # Clients that have not been counted for a whole window go; the one that was so longest ago is the first.
        while self._windows and next(iter(self._windows.values()))[-1] <= now - window_s:
            self._windows.popitem(last=False)
        window = self._windows.setdefault(name, deque())
        while window and window[0] <= now - window_s:
            window.popleft()
        allowed = len(window) < item.amount
        if allowed:
            window.append(now)
            self._windows.move_to_end(name)
        reset_s = max(1, math.ceil(window[0] + window_s - now))
        return Count(allowed, item.amount - len(window), reset_s)


class SharedCounters:
    """Counters that all gateways with the same Redis share."""

    def __init__(self, address: Secret[RedisDsn], timeout_s: float) -> None:
        url = str(address.get_secret_value())
        self._timeout_s = timeout_s
        self.pool = ConnectionPool.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),  # the client's own default waits for seconds between attempts
        )
        options: dict[str, Any] = {"connection_pool": self.pool}
        shared = storage.RedisStorage(f"async+{url}", implementation="redispy", key_prefix=KEY_PREFIX, **options)
        self._limiter = strategies.MovingWindowRateLimiter(shared)
        self._retry_at = -math.inf
        self._warned_at = -math.inf

    async def hit(self, item: RateLimitItem, client: str) -> Count | None:
        """Count a request of a client; None while Redis cannot be reached, refuses, or takes too long."""
        now = monotonic()
        if now < self._retry_at:
            return None
        if self._retry_at > -math.inf:  # it was down: the others do not wait for this request's attempt
            self._retry_at = now + PAUSE_S
        try:
            async with asyncio.timeout(self._timeout_s):
                counted = await self._count(item, client)
        except (RedisError, OSError, TimeoutError) as error:
            now = monotonic()
            self._retry_at = now + PAUSE_S
            if now - self._warned_at >= WARNING_INTERVAL_S:
                self._warned_at = now
                _log.warning("rate_limit_store_down", cause=type(error).__name__)
            return None
        self._retry_at = -math.inf
        return counted

    async def _count(self, item: RateLimitItem, client: str) -> Count:
        allowed = await self._limiter.hit(item, client)
        window = await self._limiter.get_window_stats(item, client)
        remaining = max(0, window.remaining) if allowed else 0
        # The window may have moved on between the two questions, and another gateway's clock may be ahead.
        reset_s = min(max(1, math.ceil(window.reset_time - time())), item.get_expiry())
        return Count(allowed, remaining, reset_s)


class RateLimiter:
    """Counts in Redis when there is one, else in this process, as it does while Redis is away and that is allowed.

    Redis is not asked before the first request, so it may come up later than the gateway.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shared = SharedCounters(settings.redis_url, settings.redis_timeout_s) if settings.redis_url else None
        self._own = OwnCounters()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._shared:
            await self._shared.pool.aclose()

    def rate(self, bucket: Bucket, key: ApiKey | None) -> int:
        """Requests a minute in a bucket: the key's own, else the default."""
        own = key.rates.get(bucket) if key else None
        return own or self._settings.rates()[bucket]

    async def hit(self, bucket: Bucket, rate: int, client: str) -> Count:
        """Count a request; raises UnavailableError while Redis is away and requests must not pass uncounted."""
        item = RateLimitItemPerMinute(rate, namespace=bucket)
        counted = await self._shared.hit(item, client) if self._shared else None
        if counted is None and self._shared and self._settings.redis_failure == "closed":
            raise UnavailableError("The service is not available right now.")
        return counted or self._own.hit(item, client)


def counted_as(connection: HTTPConnection, key: ApiKey | None, trusted_proxies: int) -> str:
    """The name that a request's client has in the counters."""
    if key is not None:
        return f"key:{key.id}"
    peer = connection.client.host if connection.client else "unknown"
    forwarded = connection.headers.getlist("X-Forwarded-For")
    return f"address:{_network(client_address(peer, forwarded, trusted_proxies))}"


def client_address(peer: str, forwarded: Iterable[str], trusted_proxies: int) -> str:
    """The address that the outermost trusted proxy saw; the peer's own when no proxy is trusted or it wrote none.

    Every proxy appends its peer to `X-Forwarded-For`, so only the last `trusted_proxies` entries are not the client's
    own invention.
    """
    hops = [hop.strip() for line in forwarded for hop in line.split(",")]
    believed = hops[-trusted_proxies:] if trusted_proxies else []
    return _without_port(believed[0]) or peer if believed else peer


def _without_port(hop: str) -> str | None:
    for text in (hop, hop.partition("]")[0].removeprefix("["), hop.rpartition(":")[0]):
        try:
            return str(ip_address(text))
        except ValueError:
            continue
    return None


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # the server's own name for a peer without an address, as on a Unix socket
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Network((int(parsed), IPV6_SITE_BITS), strict=False))
