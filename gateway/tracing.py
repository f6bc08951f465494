"""The spans of a request and of its calls to the model server, by OpenTelemetry's conventions for HTTP."""

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Thread
from typing import Any, Final

import httpx
import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME, SERVICE_VERSION
from opentelemetry.semconv.attributes.url_attributes import URL_FULL
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, format_span_id, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.context import TraceParent
from gateway.settings import Settings

OTHER_METHOD: Final = "_OTHER"
MAX_TRACESTATE: Final = 512
"""What the specification wants passed on; a model server would refuse a call with a header of any length."""
DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
FLUSH_S: Final = 2.0
"""What the last spans may add to the time that the last requests took to finish."""
PATH: Final = "v1/traces"
NOISY: Final = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal", "opentelemetry.util.re")
"""Loggers that repeat themselves at every attempt, or quote headers that they cannot parse."""
_log = structlog.get_logger()


class HttpSpan:
    """The span of one HTTP exchange, from either side."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def trace(self) -> TraceParent | None:
        """The trace with this span; None while `OTEL_SDK_DISABLED` is true."""
        own = self._span.get_span_context()
        if not own.is_valid:
            return None
        return TraceParent(format_trace_id(own.trace_id), format_span_id(own.span_id), own.trace_flags.sampled)

    def routed(self, method: str, route: str) -> None:
        """Name the span by the template of its route, known only now; never by a path that a client made up."""
        self._span.update_name(f"{method} {route}")
        self._span.set_attribute(HTTP_ROUTE, route)

    def answered(self, status: int, lowest_error: int, error: str | None = None) -> None:
        """Note the status; it is an error from `lowest_error` on, which differs between a server and a client."""
        self._span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
        if status >= lowest_error:
            self.failed(error or str(status))

    def failed(self, error: str) -> None:
        """Mark the span as failed by a code or the name of an exception: its text might quote anything."""
        self._span.set_attribute(ERROR_TYPE, error)
        self._span.set_status(StatusCode.ERROR)


class Spans:
    """Starts spans, and carries the trace from the client's headers to the model server's."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str | None, headers: Mapping[str, str]) -> Iterator[HttpSpan]:
        """The span of a request while the block runs, in its client's trace if it has one."""
        # From an empty context: uvicorn starts a pipelined request within the one before.
        parent = self._propagator.extract(_trace_headers(headers), Context())
        attributes = {HTTP_REQUEST_METHOD: method or OTHER_METHOD}
        with self._span(method or "HTTP", SpanKind.SERVER, attributes, parent) as span:
            yield span

    @contextmanager
    def call(self, request: httpx.Request) -> Iterator[HttpSpan]:
        """The span of a call that is about to be made, as a child of the request's; adds its id to the headers."""
        url = request.url
        attributes: dict[str, str | int] = {
            HTTP_REQUEST_METHOD: request.method,
            SERVER_ADDRESS: url.host,
            SERVER_PORT: url.port or DEFAULT_PORTS[url.scheme],
            URL_FULL: str(url.copy_with(userinfo=b"")),
        }
        with self._span(f"{request.method} {url.path}", SpanKind.CLIENT, attributes) as span:
            self._propagator.inject(request.headers)
            yield span

    @contextmanager
    def _span(
        self, name: str, kind: SpanKind, attributes: Mapping[str, str | int], parent: Context | None = None
    ) -> Iterator[HttpSpan]:
        with self._tracer.start_as_current_span(
            name, parent, kind, attributes, record_exception=False, set_status_on_exception=False
        ) as started:
            span = HttpSpan(started)
            try:
                yield span
            except BaseException as error:
                span.failed(type(error).__qualname__)
                raise


def _trace_headers(headers: Mapping[str, str]) -> dict[str, str]:
    state = headers.get("tracestate", "")
    kept = {"tracestate": state} if len(state) <= MAX_TRACESTATE else {}
    return {"traceparent": headers.get("traceparent", ""), **kept}


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
async def exporting(settings: Settings, name: str, version: str) -> AsyncIterator[Tracer]:
    """A tracer whose spans go to the collector; at the end of the block those that are left have a moment for it."""
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.CRITICAL + 1)
    exporter = ReportingExporter(f"{str(settings.otlp_endpoint).rstrip('/')}/{PATH}")
    resource = Resource.create({SERVICE_NAME: name, SERVICE_VERSION: version})
    own = OTELResourceDetector().detect()  # OTEL_SERVICE_NAME, where it is set
    provider = TracerProvider(resource=resource.merge(own), shutdown_on_exit=False)
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
        exporter.shutdown()  # type: ignore[no-untyped-call]
