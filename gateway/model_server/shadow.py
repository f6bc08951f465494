"""A second model version that judges a sample of the images after their answers are out, and never in their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from time import perf_counter

import httpx
import structlog
from starlette.background import BackgroundTask
from structlog.typing import FilteringBoundLogger

from gateway.errors import ApiError, NoShadowVersionError
from gateway.metrics import Metrics
from gateway.model_server.backend import Backend, Served
from gateway.model_server.fair_queue import FairQueue
from gateway.model_server.token_file import TokenFile
from gateway.schemas import Verdict
from gateway.settings import Settings

_log: FilteringBoundLogger = structlog.get_logger()


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
            self._metrics.shadow_judged(picture.verdict, verdict, perf_counter() - started)


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
