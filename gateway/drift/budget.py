"""How much of one core a background job may take."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

SAVED_S: Final = 1.0
"""Seconds over which an unused share is saved up for a burst."""


class CpuBudget:
    """A share of one core, earned as time goes by; a job may overdraw it and then waits until it is earned."""

    def __init__(self, share: float, clock: Callable[[], float] = monotonic) -> None:
        self._share, self._clock = share, clock
        self._most = self._left = share * SAVED_S
        self._seen = clock()

    def allows(self) -> bool:
        """Whether anything is left to spend."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._seen) * self._share)
        self._seen = now
        return self._left > 0

    def spend(self, cpu_s: float) -> None:
        """Take off what a job took."""
        self._left -= cpu_s
