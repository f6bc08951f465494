from __future__ import annotations

import asyncio
import random

import pytest

from gateway.torchserve import FairQueue, QueueFullError

pytestmark = pytest.mark.anyio


class Work:
    """Calls, perhaps with a weight, that hold their slot until told to finish; keeps the order in which they got it."""

    def __init__(self, queue: FairQueue) -> None:
        self._queue = queue
        self._finish: dict[str, asyncio.Event] = {}
        self.order: list[str] = []

    async def call(self, flow: str, name: str) -> None:
        self._finish[name] = asyncio.Event()
        async with self._queue.slot(flow, int(name.partition(" ")[2] or 0)):
            self.order.append(name)
            await self._finish[name].wait()

    async def start(self, flow: str, *names: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.call(flow, name)) for name in names]
        await settle()
        return tasks

    async def finish(self, *names: str) -> None:
        for name in names:
            self._finish[name].set()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_single_behind_a_batch_of_ten_waits_for_two_more_items_at_most() -> None:
    work = Work(FairQueue(slots=2, places=64))
    await work.start("batch", *(f"b{index}" for index in range(10)))
    await work.start("single", "single")
    await work.finish("b0")
    await work.finish("b1")
    assert work.order == ["b0", "b1", "b2", "single"]


async def test_flows_take_turns_and_each_keeps_its_order() -> None:
    work = Work(FairQueue(slots=1, places=64))
    await work.start("running", "first")
    await work.start("a", "a0", "a1", "a2")
    await work.start("b", "b0")
    await work.start("c", "c0", "c1")
    for name in ["first", "a0", "b0", "c0", "a1", "c1"]:
        await work.finish(name)
    assert work.order == ["first", "a0", "b0", "c0", "a1", "c1", "a2"]


async def test_a_full_line_refuses_at_once() -> None:
    queue = FairQueue(slots=1, places=2)
    work = Work(queue)
    await work.start("a", "a0", "a1", "a2")
    assert (queue.running, queue.waiting) == (1, 2)
    with pytest.raises(QueueFullError):
        await work.call("b", "b0")
    await work.finish("a0")
    await work.start("b", "b1")
    await work.finish("a1")
    assert work.order == ["a0", "a1", "a2"]


async def test_a_slot_given_to_a_leaving_waiter_goes_to_the_next() -> None:
    queue = FairQueue(slots=1, places=2)
    work = Work(queue)
    (running,) = await work.start("a", "a0")
    (leaving,) = await work.start("b", "b0")
    await work.start("c", "c0")
    running.cancel()
    await asyncio.sleep(0)  # the slot is handed over, and the waiter has not woken yet
    leaving.cancel()
    await settle()
    assert work.order == ["a0", "c0"]
    assert (queue.running, queue.waiting) == (1, 0)


@pytest.mark.parametrize("seed", range(20))
async def test_no_slot_is_lost_or_doubled_whoever_leaves_when(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a reproducible mess, no secret
    queue = FairQueue(slots=3, places=10)
    peak = 0

    async def call(flow: int) -> None:
        nonlocal peak
        async with queue.slot(flow):
            peak = max(peak, queue.running)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)

    tasks = []
    for _ in range(150):
        tasks.append(asyncio.create_task(call(chance.randrange(5))))
        if chance.random() < 0.4:
            chance.choice(tasks).cancel()
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {type(None), asyncio.CancelledError, QueueFullError}
    assert peak == 3
    assert (queue.running, queue.waiting) == (0, 0)
    work = Work(queue)
    await work.start("after", "x", "y", "z", "w")
    assert work.order == ["x", "y", "z"]  # three slots, as at the start


@pytest.mark.parametrize(
    ("calls", "steps"),
    [
        (["a 60", "b 50", "c 10"], [["a 60"], ["b 50", "c 10"]]),
        (["l 1", "h 100", "m 1"], [["l 1"], ["h 100"], ["m 1"]]),
        (["h 1000", "s 1"], [["h 1000"], ["s 1"]]),
    ],
    ids=["no more than the room together", "light calls wait behind a heavy one", "heavier than the room runs alone"],
)
async def test_weights_share_the_room_in_the_order_of_arrival(calls: list[str], steps: list[list[str]]) -> None:
    work = Work(FairQueue(slots=16, places=64, room=100))
    expected: list[str] = []
    for call in calls:
        await work.start(call, call)
    for step in steps:
        expected += step
        assert work.order == expected
        await work.finish(*step)


async def test_a_heavy_call_that_gives_up_makes_way() -> None:
    work = Work(FairQueue(slots=16, places=64, room=100))
    await work.start("a", "a 60")
    [heavy] = await work.start("b", "b 50")
    await work.start("c", "c 10")
    heavy.cancel()
    await settle()
    assert work.order == ["a 60", "c 10"]


async def test_a_heavy_call_finds_the_line_full() -> None:
    queue = FairQueue(slots=16, places=0, room=100)
    async with queue.slot("a", 60):
        with pytest.raises(QueueFullError):
            await queue.slot("b", 50).__aenter__()
