"""One request against one moving window: how many there were, here on the clock that nobody sets."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from time import monotonic

from limits import RateLimitItem


@dataclass(frozen=True)
class Count:
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
        self._forget(now - window_s)
        window = self._windows.setdefault(name, deque())
        while window and window[0] <= now - window_s:
            window.popleft()
        allowed = len(window) < item.amount
        if allowed:
            window.append(now)
            self._windows.move_to_end(name)
        reset_s = max(1, math.ceil(window[0] + window_s - now))
        return Count(allowed, item.amount - len(window), reset_s)

    def _forget(self, before: float) -> None:
        """Drop clients that have not been counted for a whole window; the one that was so longest ago is the first."""
        while self._windows and next(iter(self._windows.values()))[-1] <= before:
            self._windows.popitem(last=False)
