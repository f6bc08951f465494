"""What the routes work with: opened once with the application, passed on with every request."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import httpx
from starlette.requests import HTTPConnection

from gateway.access.auth import KeyRing
from gateway.access.keys import KeyFile
from gateway.access.ratelimit import RateLimiter, open_limiter
from gateway.activity import Activity
from gateway.drift.monitor import DriftMonitor
from gateway.drift.reference import read_reference
from gateway.drift.store import open_store
from gateway.evidence.examiner import Examiner
from gateway.metrics import Metrics
from gateway.model_server.backend import Backend
from gateway.model_server.readiness import Readiness
from gateway.model_server.shadow import Shadow, open_shadow
from gateway.model_server.token_file import TokenFile
from gateway.model_server.transport import AiohttpTransport
from gateway.predictions import Predictor
from gateway.settings import Settings
from gateway.tracing.opening import open_tracing
from gateway.tracing.transport import TracedTransport
from gateway.uploads import UploadBudget

if TYPE_CHECKING:
    from gateway.tracing.spans import Spans

NAME: Final = "ai-product-photo-detector"


@dataclass(frozen=True)
class Services:
    """Everything with state or settings that a route needs."""

    settings: Settings
    backend: Backend
    readiness: Readiness
    keys: KeyRing
    limiter: RateLimiter
    activity: Activity
    drift: DriftMonitor
    metrics: Metrics
    predictor: Predictor
    uploads: UploadBudget
    examiner: Examiner
    shadow: Shadow | None
    spans: Spans | None
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
        open_limiter(settings) as limiter,
        _open_drift(settings) as drift,
    ):
        token = TokenFile(settings.torchserve_key_file)
        backend, activity = Backend(network, token, settings, metrics.backend_failed), Activity()
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
                activity=activity,
                drift=drift,
                metrics=metrics,
                predictor=Predictor(backend, metrics, drift, activity),
                uploads=UploadBudget(settings),
                examiner=Examiner(settings.c2pa_trust_anchors_file),
                shadow=shadow,
                spans=spans,
                version=version,
            )


def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that a request reached."""
    return cast(Services, connection.state.services)


def read_version() -> str:
    """The project's version: from its `pyproject.toml` in a checkout, else from the installed package."""
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    if pyproject.is_file():
        return cast(str, tomllib.loads(pyproject.read_text())["project"]["version"])
    return metadata.version(NAME)


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
    settings: Settings, transport: httpx.AsyncBaseTransport | None, connections: int, spans: Spans | None
) -> httpx.AsyncBaseTransport:
    network = transport or AiohttpTransport(connections, settings.connect_timeout_s)
    return TracedTransport(network, spans) if spans else network
