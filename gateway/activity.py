"""What the gateway is doing: its clock and its counters."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

Result = TypeVar("Result")


def elapsed_ms(since: float) -> float:
    """Milliseconds since a reading of `perf_counter`, with one decimal."""
    return round((perf_counter() - since) * 1000, 1)


async def timed(call: Awaitable[Result]) -> tuple[Result, float]:
    """What a call gives, and the milliseconds that it took."""
    started = perf_counter()
    return await call, elapsed_ms(started)


class Activity:
    """Counters of one process since its start; all of its users run in the event loop, so no lock is needed."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self.active_requests = 0
        self.predictions_total = 0

    @property
    def uptime_s(self) -> float:
        """Seconds since the start, with one decimal."""
        return round(perf_counter() - self._started, 1)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a prediction request as active while the block runs."""
        self.active_requests += 1
        try:
            yield
        finally:
            self.active_requests -= 1

    def predicted(self) -> None:
        """Count one verdict that was given to a client."""
        self.predictions_total += 1
