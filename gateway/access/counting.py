"""One request against one moving window, wherever the window is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import time

from limits import RateLimitItem
from limits.aio.strategies import MovingWindowRateLimiter


@dataclass(frozen=True)
class Count:
    """Whether a request was within the rate, how many more are, and the seconds until there is one more again."""

    allowed: bool
    remaining: int
    reset_s: int


async def count(limiter: MovingWindowRateLimiter, item: RateLimitItem, client: str) -> Count:
    """Count a request of a client; one over the rate is not counted, so that hammering does not shut a client out."""
    allowed = await limiter.hit(item, client)
    window = await limiter.get_window_stats(item, client)
    remaining = max(0, window.remaining) if allowed else 0
    # The window may have moved on between the two questions, and another gateway's clock may be ahead.
    reset_s = min(max(1, math.ceil(window.reset_time - time())), item.get_expiry())
    return Count(allowed, remaining, reset_s)
