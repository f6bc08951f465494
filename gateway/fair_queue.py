"""A bounded line for a few slots, served in turns: a flow with many calls cannot hold up one with a single call."""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

Turn = tuple[asyncio.Future[None], float]
"""What a call waits for, and its weight."""


class QueueFullError(Exception):
    """All slots or all room are taken, and so are all places in the line."""


class FairQueue:
    """Hands its slots to flows in rotation, and within a flow first come, first served.

    Calls have weights, and those that run at the same time have no more than `room` together, unless there is but one.
    All of its users run in the event loop, so no lock is needed.
    """

    def __init__(self, slots: int, places: int, room: float = math.inf) -> None:
        self._free = slots
        self._places = places
        self._room = self._left = room
        self._flows: OrderedDict[Hashable, deque[Turn]] = OrderedDict()  # the next flow comes first
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def slot(self, flow: Hashable, weight: float = 0) -> AsyncIterator[None]:
        """Hold a slot while the block runs, after the flow's turn; raises QueueFullError without a place to wait in."""
        weight = min(weight, self._room)
        await self._enter(flow, weight)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._leave(weight)

    async def _enter(self, flow: Hashable, weight: float) -> None:
        if not self._flows and self._fits(weight):
            self._take(weight)
            return
        if self.waiting >= self._places:
            raise QueueFullError
        turn: Turn = (asyncio.get_running_loop().create_future(), weight)
        self._flows.setdefault(flow, deque()).append(turn)
        self.waiting += 1
        try:
            await turn[0]
        except asyncio.CancelledError:
            if turn[0].cancelled():
                self._pass_on()  # it may have been too heavy, and the one in the way
            else:  # the slot came in the moment of leaving
                self._leave(weight)
            raise
        finally:
            self.waiting -= 1

    def _fits(self, weight: float) -> bool:
        return self._free > 0 and weight <= self._left

    def _take(self, weight: float) -> None:
        self._free -= 1
        self._left -= weight

    def _leave(self, weight: float) -> None:
        self._free += 1
        self._left += weight
        self._pass_on()

    def _pass_on(self) -> None:
        """Give what is free to the next flows; a call that gave up is passed over, a heavy one not overtaken."""
        while self._flows:
            flow, line = next(iter(self._flows.items()))
            turn, weight = line[0]
            if not turn.done() and not self._fits(weight):
                return
            line.popleft()
            del self._flows[flow]
            if line:
                self._flows[flow] = line  # behind all others
            if not turn.done():
                self._take(weight)
                turn.set_result(None)
