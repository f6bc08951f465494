"""What the routes work with: opened once with the application, passed on with every request."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import cast

import httpx
from starlette.requests import HTTPConnection

from gateway import read_version
from gateway.drift.monitor import DriftMonitor
from gateway.drift.reference import read_reference
from gateway.drift.store import open_store
from gateway.evidence.metadata import Examiner
from gateway.metrics import Metrics
from gateway.ratelimit import RateLimiter
from gateway.security import KeyFile, KeyRing
from gateway.settings import Settings
from gateway.shadow import Shadow, open_shadow
from gateway.torchserve import AiohttpTransport, Backend, Readiness, TokenFile
from gateway.tracing import Spans, TracedTransport, open_tracing
from gateway.uploads import UploadBudget


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
    version: str


@asynccontextmanager
async def open_services(settings: Settings, transport: httpx.AsyncBaseTransport | None) -> AsyncIterator[Services]:
    """Open the connection pool and build the services on it; `transport` stands in for the network in tests."""
    keys = _key_ring(settings)
    version = read_version()
    metrics = Metrics(version)
    async with (
        open_tracing(settings, version) as spans,
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
                version=version,
            )


def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that a request reached."""
    return cast(Services, connection.state.services)


@asynccontextmanager
async def _open_drift(settings: Settings) -> AsyncIterator[DriftMonitor]:
    drift = DriftMonitor(read_reference(settings.drift_reference_file), settings)
    async with open_store(settings) as store, drift.kept(store):
        yield drift


def _key_ring(settings: Settings) -> KeyRing:
    file = KeyFile(settings.api_keys_file) if settings.api_keys_file else None
    if file:
        file.load()
    return KeyRing(settings.keys(), required=settings.require_auth, file=file)


def _network(
    settings: Settings, transport: httpx.AsyncBaseTransport | None, connections: int, spans: Spans
) -> httpx.AsyncBaseTransport:
    network = transport or AiohttpTransport(connections, settings.connect_timeout_s)
    return TracedTransport(network, spans) if settings.otlp_endpoint else network
