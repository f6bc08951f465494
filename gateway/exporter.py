"""Sends spans to an OpenTelemetry collector; imported where there is one, for its packages cost time and memory."""

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from threading import Thread
from typing import Any, Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME, SERVICE_VERSION
from opentelemetry.trace import Tracer

from gateway import NAME, read_version
from gateway.settings import Settings

FLUSH_S: Final = 2.0
"""What the last spans may add to the time that the last requests took to finish."""
PATH: Final = "v1/traces"
NOISY: Final = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal", "opentelemetry.util.re")
"""Loggers that repeat themselves at every attempt, or quote headers that they cannot parse."""
_log = structlog.get_logger()


class ReportingExporter(OTLPSpanExporter):
    """Sends spans, and logs only when the collector stops taking them and when it takes them again."""

    def __init__(self, endpoint: str) -> None:
        session = importlib.import_module("requests").Session()  # which has no types of its own
        session.trust_env = False  # neither a proxy nor somebody's .netrc comes between
        session.hooks["response"].append(self._note)
        super().__init__(endpoint, session=session)
        self._status: int | None = None
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; called by the processor's thread alone."""
        self._status, result = None, SpanExportResult.FAILURE
        with suppress(Exception):  # as for a header that is none; its text would quote it
            result = super().export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            _log.warning("collector_trouble", status=self._status)
        if self._failing and not failed:
            _log.info("collector_recovered")
        self._failing = failed
        return result

    def _note(self, response: Any, *_: object, **__: object) -> None:  # noqa: ANN401 - of `requests`
        self._status = response.status_code


@asynccontextmanager
async def exporting(settings: Settings) -> AsyncIterator[Tracer]:
    """A tracer whose spans go to the collector; at the end of the block those that are left have a moment for it."""
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.CRITICAL + 1)
    exporter = ReportingExporter(f"{str(settings.otlp_endpoint).rstrip('/')}/{PATH}")
    resource = Resource.create({SERVICE_NAME: NAME, SERVICE_VERSION: read_version()})
    own = OTELResourceDetector().detect()  # OTEL_SERVICE_NAME, where it is set
    provider = TracerProvider(resource=resource.merge(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield provider.get_tracer("gateway", read_version())
    finally:
        await _flush(provider, exporter, min(FLUSH_S, settings.shutdown_timeout_s))


async def _flush(provider: TracerProvider, exporter: ReportingExporter, seconds: float) -> None:
    # The library waits up to 30 s for a collector that does not answer, and a daemon alone lets the process go.
    last = Thread(target=provider.shutdown, name="last-spans", daemon=True)
    last.start()
    await asyncio.to_thread(last.join, seconds)
    if last.is_alive():
        exporter.shutdown()  # type: ignore[no-untyped-call]
