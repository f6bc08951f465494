"""A bounded line for a few slots, served in turns: a flow with many calls cannot hold up one with a single call."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

Turn = asyncio.Future[None]


class QueueFullError(Exception):
    """All slots are taken, and so are all places in the line."""


class FairQueue:
    """Hands its slots to flows in rotation, and within a flow first come, first served.

    All of its users run in the event loop, so no lock is needed.
    """

    def __init__(self, slots: int, places: int) -> None:
        self._free = slots
        self._places = places
        self._flows: OrderedDict[Hashable, deque[Turn]] = OrderedDict()  # the next flow comes first
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def slot(self, flow: Hashable) -> AsyncIterator[None]:
        """Hold a slot while the block runs, after waiting for the flow's turn.

        Raises:
            QueueFullError: There is no place left to wait in.
        """
        await self._enter(flow)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._pass_on()

    async def _enter(self, flow: Hashable) -> None:
        if self._free:  # then nobody waits
            self._free -= 1
            return
        if self.waiting >= self._places:
            raise QueueFullError
        turn: Turn = asyncio.get_running_loop().create_future()
        self._flows.setdefault(flow, deque()).append(turn)
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(flow, turn)
            else:  # the slot came in the moment of leaving
                self._pass_on()
            raise
        finally:
            self.waiting -= 1

    def _pass_on(self) -> None:
        """Give a slot that was left to the next flow that still wants one."""
        while self._flows:
            flow, line = self._flows.popitem(last=False)
            turn = line.popleft()
            if line:
                self._flows[flow] = line  # behind all others
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _forget(self, flow: Hashable, turn: Turn) -> None:
        line = self._flows.get(flow, deque())
        if turn in line:  # else it was passed over already
            line.remove(turn)
            if not line:
                del self._flows[flow]
