"""The spans of a request and of its calls to the model server, by OpenTelemetry's conventions for HTTP.

Without a collector nothing is recorded, and the trace is the client's, if it sent one.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import httpx
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes, url_attributes
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.settings import Settings

OTHER_METHOD: Final = "_OTHER"
MAX_HEADER: Final = 512
"""What the specification wants passed on; a model server would refuse a call with a header of any length."""
DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


class HttpSpan:
    """The span of one HTTP exchange, from either side."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def log_fields(self, project: str | None) -> dict[str, str | bool]:
        """The trace in a log line, if there is one; with a project also the fields that Cloud Logging looks for."""
        own = self._span.get_span_context()
        if not own.is_valid:
            return {}
        trace_id, span_id = trace.format_trace_id(own.trace_id), trace.format_span_id(own.span_id)
        fields: dict[str, str | bool] = {"trace_id": trace_id, "span_id": span_id}
        if project is None:
            return fields
        return fields | {
            "logging.googleapis.com/trace": f"projects/{project}/traces/{trace_id}",
            "logging.googleapis.com/spanId": span_id,
            "logging.googleapis.com/trace_sampled": own.trace_flags.sampled,
        }

    def routed(self, method: str, route: str) -> None:
        """Name the span by the template of its route, known only now; never by a path that a client made up."""
        self._span.update_name(f"{method} {route}")
        self._span.set_attribute(http_attributes.HTTP_ROUTE, route)

    def answered(self, status: int, *, failed: bool, error: str | None = None) -> None:
        """Note the status, and whether it is an error, which a server and a client see differently."""
        self._span.set_attribute(http_attributes.HTTP_RESPONSE_STATUS_CODE, status)
        if failed:
            self.failed(error or str(status))

    def failed(self, error: str) -> None:
        """Mark the span as failed by a code or the name of an exception: its text might quote anything."""
        self._span.set_attribute(error_attributes.ERROR_TYPE, error)
        self._span.set_status(trace.StatusCode.ERROR)


class Spans:
    """Starts spans, and carries the trace from the client's headers to the model server's."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str | None, headers: Mapping[str, str]) -> Iterator[HttpSpan]:
        """The span of a request while the block runs, in its client's trace if it has one."""
        carried = {name: headers.get(name, "") for name in ("traceparent", "tracestate")}
        # From an empty context: uvicorn starts a pipelined request within the one before.
        kept = {name: text for name, text in carried.items() if len(text) <= MAX_HEADER}
        parent = self._propagator.extract(kept, Context())
        attributes = {http_attributes.HTTP_REQUEST_METHOD: method or OTHER_METHOD}
        with self._span(method or "HTTP", trace.SpanKind.SERVER, attributes, parent) as span:
            yield span

    @contextmanager
    def call(self, request: httpx.Request) -> Iterator[HttpSpan]:
        """The span of a call that is about to be made, as a child of the request's; adds its id to the headers."""
        url = request.url
        attributes: dict[str, str | int] = {
            http_attributes.HTTP_REQUEST_METHOD: request.method,
            server_attributes.SERVER_ADDRESS: url.host,
            server_attributes.SERVER_PORT: url.port or DEFAULT_PORTS[url.scheme],
            url_attributes.URL_FULL: str(url.copy_with(userinfo=b"")),
        }
        with self._span(f"{request.method} {url.path}", trace.SpanKind.CLIENT, attributes) as span:
            self._propagator.inject(request.headers)
            yield span

    @contextmanager
    def _span(
        self, name: str, kind: trace.SpanKind, attributes: Mapping[str, str | int], parent: Context | None = None
    ) -> Iterator[HttpSpan]:
        started = self._tracer.start_span(name, parent, kind, attributes)
        with trace.use_span(started, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            span = HttpSpan(started)
            try:
                yield span
            except BaseException as error:
                span.failed(type(error).__qualname__)
                raise


class TracedTransport(httpx.AsyncBaseTransport):
    """Another transport, with a span around each attempt of a call."""

    def __init__(self, inner: httpx.AsyncBaseTransport, spans: Spans) -> None:
        self._inner, self._spans = inner, spans

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make one attempt; the span ends with the head of the answer."""
        with self._spans.call(request) as span:
            response = await self._inner.handle_async_request(request)
            span.answered(response.status_code, failed=response.is_error)
            return response

    async def aclose(self) -> None:
        """Close the other transport."""
        await self._inner.aclose()


@asynccontextmanager
async def open_tracing(settings: Settings) -> AsyncIterator[Spans]:
    """What makes spans; at the end of the block those that are left go to the collector, where there is one."""
    if settings.otlp_endpoint is None:
        yield Spans(trace.NoOpTracer())
        return
    from gateway.exporter import exporting  # noqa: PLC0415 - it is slow to import, and most have no use for it

    async with exporting(settings) as tracer:
        yield Spans(tracer)
