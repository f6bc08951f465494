"""The one step behind every route that predicts: queue, call, metrics, drift window, shadow sample; and batches."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from time import perf_counter
from typing import TypeVar

import httpx
import structlog
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile
from structlog.typing import FilteringBoundLogger

from gateway.context import Activity, elapsed_ms
from gateway.drift.monitor import DriftMonitor
from gateway.drift.store import Sample
from gateway.errors import ApiError, NoShadowVersionError, UnavailableError
from gateway.fair_queue import FairQueue
from gateway.metrics import Metrics
from gateway.schemas import BatchBody, BatchItem, Explanation, Verdict
from gateway.settings import Settings
from gateway.torchserve import Backend, Served, TokenFile

_log: FilteringBoundLogger = structlog.get_logger()
Answer = TypeVar("Answer", bound=Verdict)
Judge = Callable[[UploadFile], Awaitable[Verdict]]
Outcome = Verdict | ApiError


@dataclass(frozen=True)
class Judged:
    """An image, what the live version said about it, and the request that brought it."""

    image: bytes
    verdict: Verdict
    request_id: str


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

    async def judge(self, pictures: list[Judged]) -> None:
        """Have images judged in the background, as many as there is room for."""
        for picture in pictures:
            if self._live.waiting or len(self._pending) >= self._settings.shadow_backlog:
                self._metrics.shadow_missed("dropped")
                continue
            task = asyncio.create_task(self._compare(picture))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    async def close(self) -> None:
        """Give up what is still being judged: nobody waits for it."""
        for task in (pending := list(self._pending)):
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _compare(self, picture: Judged) -> None:
        started = perf_counter()
        try:
            # One flow for all samples, so that they take turns with clients' own comparisons.
            verdict = await self.backend.predict(picture.image, picture.request_id, flow=self)
        except ApiError:
            self._metrics.shadow_missed("error")
        except Exception:  # noqa: BLE001 - nobody waits for this task, so nobody else would see it
            self._metrics.shadow_missed("error")
            _log.exception("unhandled_exception")
        else:
            self._metrics.shadow_predicted(picture.verdict, verdict, perf_counter() - started)


class ShadowSample:
    """Those images of one request that the shadow version is to judge once the answer is out."""

    def __init__(self, shadow: Shadow, request_id: str) -> None:
        self._shadow, self._request_id = shadow, request_id
        self._pictures: list[Judged] = []

    def consider(self, image: bytes, verdict: Verdict) -> None:
        """Take an image into the sample, or not."""
        if self._shadow.picks():
            self._pictures.append(Judged(image, verdict, self._request_id))

    def task(self) -> BackgroundTask | None:
        """What is to be done after the answer."""
        return BackgroundTask(self._shadow.judge, self._pictures) if self._pictures else None


@asynccontextmanager
async def open_shadow(
    network: httpx.AsyncBaseTransport, token: TokenFile, live: FairQueue, metrics: Metrics, settings: Settings
) -> AsyncIterator[Shadow | None]:
    """The shadow version where one is configured; what it has not judged by the end of the block it never will."""
    if not settings.shadow_version:
        yield None
        return
    backend = Backend(network, token, settings, served=_served(settings, settings.shadow_version))
    shadow = Shadow(backend, live, metrics, settings)
    try:
        yield shadow
    finally:
        await shadow.close()


def no_shadow_version() -> NoShadowVersionError:
    """The answer to a comparison where no shadow version is configured."""
    return NoShadowVersionError("This service runs one version of the model, so there is nothing to compare it with.")


def _served(settings: Settings, version: str) -> Served:
    # A full backlog of samples must leave room for clients' own comparisons.
    places = settings.shadow_backlog + settings.backend_queue
    return Served(f"{settings.model_name}/{version}", settings.shadow_concurrency, places, "shadow_trouble")


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
            self._metrics.not_predicted(error)
            raise
        self._metrics.predicted(verdict, perf_counter() - started)
        self._activity.predicted()
        self._drift.record(
            Sample(verdict.model_version, verdict.prediction, verdict.probability, verdict.confidence, verdict.inputs)
        )
        return verdict


async def judge_batch(uploads: list[UploadFile], judge: Judge) -> BatchBody:
    """Judge all files concurrently; results keep the files' order, and a bad file fails alone.

    Raises:
        UnavailableError: No file got a verdict, and the model server is to blame for at least one of them.
    """
    started = perf_counter()
    verdicts: list[Verdict] = []  # in the order of completion

    async def attempt(upload: UploadFile) -> Outcome:
        try:
            verdicts.append(verdict := await judge(upload))
        except ApiError as error:
            return error
        return verdict

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(upload)) for upload in uploads]
    outcomes = [task.result() for task in tasks]
    _check_available(outcomes, verdicts)
    return BatchBody(
        results=[_item(upload, outcome) for upload, outcome in zip(uploads, outcomes, strict=True)],
        total=len(outcomes),
        successful=len(verdicts),
        failed=len(outcomes) - len(verdicts),
        total_inference_time_ms=elapsed_ms(started),
        model_version=verdicts[-1].model_version if verdicts else None,
    )


def _check_available(outcomes: list[Outcome], verdicts: list[Verdict]) -> None:
    down = [outcome for outcome in outcomes if isinstance(outcome, UnavailableError)]
    if down and not verdicts:
        raise down[0]


def _item(upload: UploadFile, outcome: Outcome) -> BatchItem:
    # A client may name a charset whose decoder yields what UTF-8 cannot carry.
    filename = (upload.filename or "").encode(errors="replace").decode()
    if isinstance(outcome, ApiError):
        return BatchItem(filename=filename, error=str(outcome))
    return BatchItem(
        filename=filename,
        prediction=outcome.prediction,
        probability=outcome.probability,
        confidence=outcome.confidence,
    )
