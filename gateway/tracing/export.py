"""The way to the collector: OTLP over HTTP, in batches, by a thread of its own that no request waits for."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any, Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME, SERVICE_VERSION
from opentelemetry.trace import Tracer
from structlog.typing import FilteringBoundLogger

from gateway.settings import Settings

FLUSH_S: Final = 2.0
"""What the last spans may add to the time that the last requests took to finish."""
PATH: Final = "v1/traces"
NOISY: Final = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal", "opentelemetry.util.re")
"""Loggers that repeat themselves at every attempt, or quote headers that they cannot parse."""

_log: FilteringBoundLogger = structlog.get_logger()


class ReportingExporter(SpanExporter):
    """Sends spans, and logs only when the collector stops taking them and when it takes them again."""

    def __init__(self, settings: Settings) -> None:
        self._status: int | None = None
        self._failing = False
        self._exporter = OTLPSpanExporter(
            endpoint=f"{str(settings.otlp_endpoint).rstrip('/')}/{PATH}",
            headers=settings.collector_headers(),
            session=self._session(),
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; called by the processor's thread alone."""
        self._status = None
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            _log.warning("collector_trouble", status=self._status)
        if self._failing and not failed:
            _log.info("collector_recovered")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """Give up what is not sent yet."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _session(self) -> Any:  # noqa: ANN401 - requests has no types of its own
        session = importlib.import_module("requests").Session()
        session.trust_env = False  # neither a proxy nor somebody's .netrc comes between
        session.hooks["response"].append(self._note)
        return session

    def _note(self, response: Any, *_: object, **__: object) -> None:  # noqa: ANN401 - the same
        self._status = response.status_code


@asynccontextmanager
async def exporting(settings: Settings, version: str) -> AsyncIterator[Tracer]:
    """A tracer whose spans go to the collector; at the end of the block those that are left have a moment for it."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    exporter = ReportingExporter(settings)
    resource = Resource.create({SERVICE_NAME: settings.otel_service_name, SERVICE_VERSION: version})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield provider.get_tracer("gateway", version)
    finally:
        await _flush(provider, exporter, min(FLUSH_S, settings.shutdown_timeout_s))


async def _flush(provider: TracerProvider, exporter: ReportingExporter, seconds: float) -> None:
    # The library waits up to 30 s for a collector that does not answer, and a daemon alone lets the process go.
    last = Thread(target=provider.shutdown, name="last-spans", daemon=True)
    last.start()
    await asyncio.to_thread(last.join, seconds)
    if last.is_alive():
        exporter.shutdown()
