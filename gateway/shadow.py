"""The shadow version: predicts a sample of the images once their answers are out, and is compared with the live one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from time import perf_counter

import httpx
import structlog

from gateway.errors import ApiError
from gateway.images import CheckedImage
from gateway.metrics import Metrics
from gateway.schemas import Verdict
from gateway.settings import Settings
from gateway.torchserve import Backend, FairQueue, Served, TokenFile

_log = structlog.get_logger()
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
