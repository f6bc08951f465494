"""What the routes work with: opened once with the application, passed on with every request."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import httpx
from starlette.requests import HTTPConnection

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
from gateway.uploads import UploadBudget

if TYPE_CHECKING:
    from gateway.tracing import Spans

LOWEST_ERROR: Final = 400
NAME: Final = "ai-product-photo-detector"


class MissingPackageError(Exception):
    """A collector is configured, and the packages that would send it spans are not installed."""


@asynccontextmanager
async def open_tracing(settings: Settings, version: str) -> AsyncIterator[Spans | None]:
    """What makes spans, or None without a collector; at the end of the block what is left is sent.

    Raises:
        MissingPackageError: OpenTelemetry is not installed.
    """
    if settings.otlp_endpoint is None:
        yield None
        return
    try:
        from gateway.tracing import Spans, exporting  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise MissingPackageError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed. Unset it, or install what sends "
            "spans: pip install 'ai-product-photo-detector[gateway,tracing]'"
        ) from error
    async with exporting(settings, NAME, version) as tracer:
        yield Spans(tracer)


class TracedTransport(httpx.AsyncBaseTransport):
    """Another transport, with a span around each attempt of a call."""

    def __init__(self, inner: httpx.AsyncBaseTransport, spans: Spans) -> None:
        self._inner, self._spans = inner, spans

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make one attempt; the span ends with the head of the answer."""
        with self._spans.call(request) as span:
            response = await self._inner.handle_async_request(request)
            span.answered(response.status_code, LOWEST_ERROR)
            return response

    async def aclose(self) -> None:
        """Close the other transport."""
        await self._inner.aclose()


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
