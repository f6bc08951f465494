"""The one step behind every route that predicts: queue, call, metrics, drift window, shadow sample."""

from __future__ import annotations

from collections.abc import Awaitable, Hashable
from time import perf_counter
from typing import TypeVar

from gateway.activity import Activity
from gateway.drift.monitor import DriftMonitor
from gateway.drift.store import Sample
from gateway.metrics import Metrics
from gateway.model_server.backend import Backend
from gateway.model_server.shadow import ShadowSample
from gateway.schemas import Explanation, Verdict

Answer = TypeVar("Answer", bound=Verdict)


class Predictor:
    """Asks the live version, and counts what came of it."""

    def __init__(self, backend: Backend, metrics: Metrics, drift: DriftMonitor, activity: Activity) -> None:
        self._backend = backend
        self._metrics = metrics
        self._drift = drift
        self._activity = activity

    async def predict(
        self, image: bytes, request_id: str, sample: ShadowSample | None = None, flow: Hashable = None
    ) -> Verdict:
        """Predict an image, and consider it for the request's shadow sample; raises as `Backend.predict` does."""
        verdict = await self._counted(self._backend.predict(image, request_id, flow=flow))
        if sample:
            sample.consider(image, verdict)
        return verdict

    async def explain(self, image: bytes, request_id: str) -> Explanation:
        """Predict an image and show what drove the verdict; raises as `Backend.explain` does."""
        return await self._counted(self._backend.explain(image, request_id))

    async def _counted(self, call: Awaitable[Answer]) -> Answer:
        started = perf_counter()
        try:
            verdict = await call
        except Exception as error:
            self._metrics.not_judged(error)
            raise
        self._metrics.judged(verdict, perf_counter() - started)
        self._activity.predicted()
        self._drift.record(
            Sample(verdict.model_version, verdict.prediction, verdict.probability, verdict.confidence, verdict.inputs)
        )
        return verdict
