"""What watches predictions: counters at once, and the drift window as soon as the picture has been measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from time import perf_counter, thread_time
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from gateway.drift.budget import CpuBudget
from gateway.drift.input_statistics import InputName, measure
from gateway.drift.monitor import DriftMonitor
from gateway.drift.store import Sample
from gateway.metrics import Metrics
from gateway.model_server.backend import Verdict
from gateway.settings import Settings

Answer = TypeVar("Answer", bound=Verdict)


class Observer:
    """Watches calls to the model; a picture is measured after its answer, one at a time, and never delays it."""

    def __init__(self, drift: DriftMonitor, metrics: Metrics, settings: Settings) -> None:
        self._drift = drift
        self._metrics = metrics
        self._settings = settings
        self._one_core = CapacityLimiter(1)
        self._budget = CpuBudget(settings.drift_cpu_share)
        self._pending: set[asyncio.Task[None]] = set()

    async def watch(self, image: bytes, call: Awaitable[Answer]) -> Answer:
        """Wait for a verdict on an image and take note of it, or of the error."""
        started = perf_counter()
        try:
            verdict = await call
        except Exception as error:
            self._metrics.not_judged(error)
            raise
        self._metrics.judged(verdict, perf_counter() - started)
        self._accept(image, verdict)
        return verdict

    async def settle(self) -> None:
        """Wait for the pictures that are being measured now."""
        await asyncio.gather(*self._pending)

    def _accept(self, image: bytes, verdict: Verdict) -> None:
        sample = Sample(verdict.model_version, verdict.prediction, verdict.probability, verdict.confidence, {})
        if len(self._pending) >= self._settings.drift_backlog or not self._budget.allows():
            self._drift.record(sample)  # under load the inputs are sampled, the verdicts never
            return
        task = asyncio.create_task(self._measure(image, sample))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _measure(self, image: bytes, sample: Sample) -> None:
        most = self._settings.drift_max_decoded_pixels
        inputs, cpu_s = await to_thread.run_sync(_timed, image, most, limiter=self._one_core)
        self._budget.spend(cpu_s)
        self._drift.record(replace(sample, inputs=inputs))


def _timed(image: bytes, most: int) -> tuple[dict[InputName, float], float]:
    started = thread_time()
    return measure(image, most), thread_time() - started


@asynccontextmanager
async def open_observer(drift: DriftMonitor, metrics: Metrics, settings: Settings) -> AsyncIterator[Observer]:
    """An observer that has measured every picture by the end of the block."""
    observer = Observer(drift, metrics, settings)
    try:
        yield observer
    finally:
        await observer.settle()
