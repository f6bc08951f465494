"""What the routes work with, the shadow version among it: opened once, and passed on with every request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from random import random
from time import perf_counter
from typing import cast

import httpx
import structlog
from starlette.requests import HTTPConnection

from gateway import read_version
from gateway.drift import reference, store
from gateway.drift.monitor import DriftMonitor
from gateway.errors import ApiError
from gateway.evidence.metadata import Examiner
from gateway.images import CheckedImage
from gateway.metrics import Metrics
from gateway.ratelimit import RateLimiter
from gateway.schemas import Verdict
from gateway.security import KeyRing
from gateway.settings import Settings
from gateway.torchserve import AiohttpTransport, Backend, FairQueue, Readiness, Served, TokenFile
from gateway.tracing import Spans, TracedTransport, open_tracing
from gateway.uploads import UploadBudget

_log = structlog.get_logger()
Predicted = tuple[CheckedImage, Verdict]
"""An image and what the live version said about it."""


class Shadow:
    """Asks the shadow version and counts how it compares; drops images while it is busy or live ones wait."""

    def __init__(self, backend: Backend, live: FairQueue, metrics: Metrics, settings: Settings) -> None:
        self.backend = backend
        self._live = live
        self._metrics = metrics
        self._settings = settings
        self._pending: set[asyncio.Task[None]] = set()

    def picks(self) -> bool:
        """Whether the next image belongs to the sample."""
        return random() < self._settings.shadow_fraction  # noqa: S311 - a sample, no secret

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


@dataclass(frozen=True)
class Services:
    """Everything with state or settings that a route needs."""

    settings: Settings
    backend: Backend
    readiness: Readiness
    keys: KeyRing
    limiter: RateLimiter
    drift: DriftMonitor
    metrics: Metrics
    uploads: UploadBudget
    examiner: Examiner
    shadow: Shadow | None
    spans: Spans


@asynccontextmanager
async def open_services(settings: Settings, transport: httpx.AsyncBaseTransport | None) -> AsyncIterator[Services]:
    """Open the connection pool and build the services on it; `transport` stands in for the network in tests."""
    keys = KeyRing(settings)
    keys.load()
    metrics = Metrics(read_version())
    async with (
        open_tracing(settings) as spans,
        _network(settings, transport, settings.backend_concurrency, spans) as network,
        aclosing(RateLimiter(settings)) as limiter,
        _open_drift(settings) as drift,
    ):
        token = TokenFile(settings.torchserve_key_file)
        backend = Backend(network, token, settings, metrics.backend_failed)
        # The shadow version has connections of its own, so that it never takes a live call's.
        async with (
            _network(settings, transport, settings.shadow_concurrency, spans) as shadow_network,
            open_shadow(shadow_network, token, backend.queue, metrics, settings) as shadow,
        ):
            yield Services(
                settings=settings,
                backend=backend,
                readiness=Readiness(backend, settings),
                keys=keys,
                limiter=limiter,
                drift=drift,
                metrics=metrics,
                uploads=UploadBudget(settings),
                examiner=Examiner(settings.c2pa_trust_anchors_file),
                shadow=shadow,
                spans=spans,
            )


def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that a request reached."""
    return cast(Services, connection.state.services)


@asynccontextmanager
async def _open_drift(settings: Settings) -> AsyncIterator[DriftMonitor]:
    drift = DriftMonitor(reference.read_reference(settings.drift_reference_file), settings)
    async with store.open_store(settings) as samples, drift.kept(samples):
        yield drift


def _network(
    settings: Settings, transport: httpx.AsyncBaseTransport | None, connections: int, spans: Spans
) -> httpx.AsyncBaseTransport:
    network = transport or AiohttpTransport(connections, settings.connect_timeout_s)
    return TracedTransport(network, spans) if settings.otlp_endpoint else network
