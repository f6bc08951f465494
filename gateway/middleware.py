"""Pure-ASGI layers: one around everything, one around each prediction route."""

import asyncio
import errno
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, Final, TypeVar

import structlog
from httpx import codes
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import metrics, security, uploads
from gateway.context import Refusals, RequestContext, context_of, elapsed_ms, request_id
from gateway.errors import RateLimitedError, SlowRequestError, UnavailableError, render
from gateway.ratelimit import WINDOW_S, Bucket, counted_as
from gateway.services import Services, services_of
from gateway.tracing import HttpSpan

ID_HEADER: Final = "X-Request-ID"
KEY_HEADER: Final = "X-API-Key"
MAX_LOGGED_PATH: Final = 200
NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}
"""A full disk and too many open files: what the client sent is not to blame, and waiting helps."""

_log = structlog.get_logger()
Result = TypeVar("Result")


class RequestLayer:
    """Gives every request an id, a log line, a span and, whatever happens inside, an answer."""

    def __init__(self, app: ASGIApp, trace_project: str | None = None) -> None:
        self._app, self._trace_project = app, trace_project
        self._refusals = Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        context = scope["state"]["context"] = RequestContext(request_id(headers.get(ID_HEADER)))
        services: Services = scope["state"]["services"]
        method = scope["method"] if scope["method"] in metrics.METHODS else None
        structlog.contextvars.clear_contextvars()  # uvicorn starts a pipelined request within the one before
        with services.spans.request(method, headers) as span:
            fields = span.log_fields(self._trace_project)
            with structlog.contextvars.bound_contextvars(request_id=context.request_id, **fields):
                started = perf_counter()
                try:
                    await self._serve(scope, _counting(receive, context), _completing(send, context))
                finally:
                    services.metrics.exchanged(scope, context, perf_counter() - started)
                    self._log_line(scope, context, elapsed_ms(started))
                    _tell(span, method or "HTTP", scope, context)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(HTTPConnection(scope))
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # The server stops, and the time for what is in flight is over.
            if context.status is not None:
                raise
            await _answer(UnavailableError("The service is stopping."), scope, receive, send)
        except Exception as error:
            _log.exception("unhandled_exception")
            if context.status is not None:
                raise  # half an answer is out; the server must break the connection
            no_room = isinstance(error, OSError) and error.errno in NO_ROOM
            told = UnavailableError("The service has no room right now.") if no_room else error
            await _answer(told, scope, receive, send)

    def _log_line(self, scope: Scope, context: RequestContext, duration_ms: float) -> None:
        refused = context.status is not None and codes.is_client_error(context.status)
        if self._refusals.lets_through(refused=refused):
            _log.info(
                "request",
                method=scope["method"],
                path=scope["path"][:MAX_LOGGED_PATH],
                status=context.status,
                duration_ms=duration_ms,
                **context.fields,
            )


async def _answer(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    response = await render(Request(scope), error)
    await response(scope, receive, send)


def _counting(receive: Receive, context: RequestContext) -> Receive:
    async def counted() -> Message:
        message = await receive()
        context.received += len(message.get("body", b""))
        return message

    return counted


def _completing(send: Send, context: RequestContext) -> Send:
    async def completed(message: Message) -> None:
        if message["type"] == "http.response.start":
            context.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update({ID_HEADER: context.request_id, **context.headers})
            for name, value in security.JSON_HEADERS.items():
                headers.setdefault(name, value)  # a page has its own
        context.sent += len(message.get("body", b""))
        await send(message)

    return completed


def _tell(span: HttpSpan, method: str, scope: Scope, context: RequestContext) -> None:
    """Tell a request's span where it went and what came of it."""
    if (endpoint := metrics.endpoint_of(scope)) != metrics.UNMATCHED:
        span.routed(method, endpoint)
    if context.status is not None:
        span.answered(context.status, failed=codes.is_server_error(context.status), error=context.error)


class Guard:
    """Around each prediction route: bounds the body, checks key and rate, and counts the request as active."""

    def __init__(self, app: ASGIApp, bucket: Bucket) -> None:
        self._app, self._bucket = app, bucket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        connection = HTTPConnection(scope)
        services = services_of(connection)
        declared = connection.headers.get("content-length", "")
        size = int(declared) if declared.isdecimal() else 0
        self._check_size(size, services)
        context = context_of(connection)
        context.key = services.keys.identify(connection.headers.get(KEY_HEADER))
        context.note(key_id=context.key.id if context.key else None)
        if services.settings.rate_limit_enabled:
            await self._check_rate(connection, services)
        with services.metrics.active(), services.uploads.hold() as hold:

            def grow(size: int) -> None:
                self._check_size(size, services)
                try:
                    hold(size)
                except UnavailableError:
                    services.metrics.limited("upload_bytes")
                    raise

            grow(size)
            await self._app(scope, _Body(receive, services, grow).receive, send)

    def _check_size(self, size: int, services: Services) -> None:
        settings, batch = services.settings, self._bucket == "batch"
        most = settings.max_batch_bytes if batch else settings.max_file_bytes
        if size > most + settings.max_form_overhead_bytes:
            raise uploads.batch_too_large(settings) if batch else uploads.file_too_large(settings)

    async def _check_rate(self, connection: HTTPConnection, services: Services) -> None:
        context, bucket = context_of(connection), self._bucket
        rate = services.limiter.rate(bucket, context.key)
        # As in the IETF's draft-ietf-httpapi-ratelimit-headers.
        context.headers["RateLimit-Policy"] = f'"{bucket}";q={rate};w={WINDOW_S}'
        client = counted_as(connection, context.key, services.settings.trusted_proxies)
        counted = await services.limiter.hit(bucket, rate, client)
        context.headers["RateLimit"] = f'"{bucket}";r={counted.remaining};t={counted.reset_s}'
        if not counted.allowed:
            detail = f"At most {rate} requests a minute. Please retry in {counted.reset_s} s."
            raise RateLimitedError(detail, {"Retry-After": str(counted.reset_s)})


class _Body:
    """A body on its way in: a whole deadline, and a pace that a stalled one does not keep."""

    def __init__(self, receive: Receive, services: Services, grow: Callable[[int], None]) -> None:
        settings = services.settings
        self._receive, self._metrics, self._grow = receive, services.metrics, grow
        self._stall_s, self._pace = settings.stall_timeout_s, settings.min_transfer_rate * settings.stall_timeout_s
        self._now = asyncio.get_running_loop().time
        self._whole = self._now() + settings.body_timeout_s
        self._paced_until, self._paced = self._now() + self._stall_s, 0
        self._read, self._more = 0, True

    async def receive(self) -> Message:
        """The next part of the body, in time."""
        if not self._more:  # it waits for the client to hang up
            return await self._receive()
        try:
            async with asyncio.timeout_at(min(self._whole, self._paced_until) if self._pace else self._whole):
                message = await self._receive()
        except TimeoutError as error:
            self._metrics.limited("body_time")
            raise SlowRequestError from error
        size = len(message.get("body", b""))
        self._more, self._read, self._paced = message.get("more_body", False), self._read + size, self._paced + size
        if self._paced >= self._pace:
            self._paced_until, self._paced = self._now() + self._stall_s, 0
        self._grow(self._read)
        return message


async def until_disconnect(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work`, and cancel it when the client hangs up; the request's body must have been read.

    Raises:
        ClientDisconnect: The client went first.
    """
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
