"""What looking one image's file over may cost: whoever wrote the file decides how much there is to read."""

from __future__ import annotations

from time import monotonic
from typing import Final

SECONDS: Final = 2.0
STEPS: Final = 20_000
"""XML elements and attributes, and kilobytes of text, together; honest files have some hundreds, few have thousands."""


class OverBudgetError(Exception):
    """The time or the steps are used up."""


class Budget:
    """The steps and the time that are left to all readers of one file."""

    def __init__(self, seconds: float = SECONDS, steps: int = STEPS) -> None:
        self._end = monotonic() + seconds
        self._steps = steps

    def spend(self, steps: int = 1) -> None:
        """Take some steps.

        Raises:
            OverBudgetError: There are none left, or no time.
        """
        self._steps -= steps
        if self._steps < 0 or monotonic() > self._end:
            raise OverBudgetError
