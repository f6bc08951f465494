"""The one step behind every route that predicts: queue, call, metrics, drift window, shadow sample; and batches."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from random import Random
from time import perf_counter
from typing import TypeVar

import httpx
import structlog
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile

from gateway.context import Activity, elapsed_ms
from gateway.drift.monitor import DriftMonitor
from gateway.drift.store import Sample
from gateway.errors import ApiError, UnavailableError
from gateway.images import CheckedImage
from gateway.metrics import Metrics
from gateway.schemas import BatchBody, BatchItem, Explanation, Verdict
from gateway.settings import Settings
from gateway.torchserve import Backend, FairQueue, Served, TokenFile

_log = structlog.get_logger()
Answer = TypeVar("Answer", bound=Verdict)


Predicted = tuple[CheckedImage, Verdict]
"""An image and what the live version said about it."""


class Shadow:
    """Asks the shadow version and counts how it compares; drops images while it is busy or live ones wait."""

    def __init__(
        self,
        backend: Backend,
        live: FairQueue,
        metrics: Metrics,
        settings: Settings,
        chance: Callable[[], float] | None = None,
    ) -> None:
        self.backend = backend
        self._live = live
        self._metrics = metrics
        self._settings = settings
        self._chance = chance or Random().random  # noqa: S311 - a sample, no secret
        self._pending: set[asyncio.Task[None]] = set()

    def picks(self) -> bool:
        """Whether the next image belongs to the sample."""
        return self._chance() < self._settings.shadow_fraction

    async def predict(self, sample: list[Predicted], request_id: str) -> None:
        """Have a request's images predicted in the background, as many as there is room for."""
        for image, live in sample:
            if self._live.waiting or len(self._pending) >= self._settings.shadow_backlog:
                self._metrics.shadow_missed("dropped")
                continue
            task = asyncio.create_task(self._compare(image, live, request_id))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    async def close(self) -> None:
        """Give up what is still being predicted: nobody waits for it."""
        for task in (pending := list(self._pending)):
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _compare(self, image: CheckedImage, live: Verdict, request_id: str) -> None:
        started = perf_counter()
        try:
            # One flow for all samples, so that they take turns with clients' own comparisons.
            verdict = await self.backend.predict(image, request_id, flow=self)
        except Exception as error:  # noqa: BLE001 - nobody waits for this task, so nobody else would see it
            self._metrics.shadow_missed("error")
            if not isinstance(error, ApiError):
                _log.exception("unhandled_exception")
        else:
            self._metrics.shadow_predicted(live, verdict, perf_counter() - started)


class ShadowSample:
    """Those images of one request that the shadow version is to predict once the answer is out."""

    def __init__(self, shadow: Shadow, request_id: str) -> None:
        self._shadow, self._request_id = shadow, request_id
        self._images: list[Predicted] = []

    def consider(self, image: CheckedImage, verdict: Verdict) -> None:
        """Take an image into the sample, or not."""
        if self._shadow.picks():
            self._images.append((image, verdict))

    def task(self) -> BackgroundTask | None:
        """What is to be done after the answer."""
        return BackgroundTask(self._shadow.predict, self._images, self._request_id) if self._images else None


@asynccontextmanager
async def open_shadow(
    network: httpx.AsyncBaseTransport, token: TokenFile, live: FairQueue, metrics: Metrics, settings: Settings
) -> AsyncIterator[Shadow | None]:
    """The shadow version where one is configured; what it has not predicted by the end of the block it never will."""
    if not settings.shadow_version:
        yield None
        return
    # A full backlog of samples must leave room for clients' own comparisons.
    places = settings.shadow_backlog + settings.backend_queue
    name = f"{settings.model_name}/{settings.shadow_version}"
    served = Served(name, settings.shadow_concurrency, places, "shadow_trouble")
    shadow = Shadow(Backend(network, token, settings, served=served), live, metrics, settings)
    try:
        yield shadow
    finally:
        await shadow.close()


class Predictor:
    """Asks the live version, and counts what came of it."""

    def __init__(self, backend: Backend, metrics: Metrics, drift: DriftMonitor, activity: Activity) -> None:
        self._backend = backend
        self._metrics = metrics
        self._drift = drift
        self._activity = activity

    async def predict(
        self, image: CheckedImage, request_id: str, sample: ShadowSample | None = None, flow: Hashable = None
    ) -> Verdict:
        """Predict an image, and consider it for the request's shadow sample; raises as `Backend.predict` does."""
        verdict = await self._counted(self._backend.predict(image, request_id, flow=flow))
        if sample:
            sample.consider(image, verdict)
        return verdict

    async def explain(self, image: CheckedImage, request_id: str) -> Explanation:
        """Predict an image and show what drove the prediction; raises as `Backend.explain` does."""
        return await self._counted(self._backend.explain(image, request_id))

    async def _counted(self, call: Awaitable[Answer]) -> Answer:
        started = perf_counter()
        try:
            verdict = await call
        except Exception as error:
            self._metrics.not_predicted(error)
            raise
        self._metrics.predicted(verdict, perf_counter() - started)
        self._activity.predictions_total += 1
        self._drift.record(
            Sample(verdict.model_version, verdict.prediction, verdict.probability, verdict.confidence, verdict.inputs)
        )
        return verdict


async def predict_all(uploads: list[UploadFile], predict: Callable[[UploadFile], Awaitable[Verdict]]) -> BatchBody:
    """Predict all files concurrently; results keep the files' order, and a bad file fails alone.

    Raises:
        UnavailableError: No file was predicted, and the model server is to blame for at least one of them.
    """
    started = perf_counter()
    verdicts: list[Verdict] = []  # in the order of completion

    async def attempt(upload: UploadFile) -> Verdict | ApiError:
        try:
            verdicts.append(verdict := await predict(upload))
        except ApiError as error:
            return error
        return verdict

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(upload)) for upload in uploads]
    outcomes = [task.result() for task in tasks]
    down = [outcome for outcome in outcomes if isinstance(outcome, UnavailableError)]
    if down and not verdicts:
        raise down[0]
    return BatchBody(
        results=[_item(upload, outcome) for upload, outcome in zip(uploads, outcomes, strict=True)],
        total=len(outcomes),
        successful=len(verdicts),
        failed=len(outcomes) - len(verdicts),
        total_inference_time_ms=elapsed_ms(started),
        model_version=verdicts[-1].model_version if verdicts else None,
    )


def _item(upload: UploadFile, outcome: Verdict | ApiError) -> BatchItem:
    # A client may name a charset whose decoder yields what UTF-8 cannot carry.
    filename = (upload.filename or "").encode(errors="replace").decode()
    if isinstance(outcome, ApiError):
        return BatchItem(filename=filename, error=str(outcome))
    return BatchItem(filename=filename, **outcome.model_dump(include={"prediction", "probability", "confidence"}))
