"""Pure-ASGI layers: one around everything, the others around each prediction route."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from gateway.context import Refusals, RequestContext, TraceParent, context_of, elapsed_ms, request_id, trace_of
from gateway.errors import ApiError, SlowRequestError, UnavailableError, render
from gateway.metrics import METHODS, UNMATCHED, Exchange, endpoint_of
from gateway.ratelimit import Bucket, counted_as
from gateway.services import Services, services_of
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.tracing import HttpSpan

ID_HEADER: Final = "X-Request-ID"
KEY_HEADER: Final = "X-API-Key"
MAX_LOGGED_PATH: Final = 200
CLIENT_ERRORS: Final = 4
NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}
"""A full disk and too many open files: what the client sent is not to blame, and waiting helps."""

_log: FilteringBoundLogger = structlog.get_logger()
Result = TypeVar("Result")
LOWEST_ERROR: Final = 500


class RequestLayer:
    """Gives every request an id, a log line and, whatever happens inside, an answer."""

    def __init__(self, app: ASGIApp, trace_project: str | None = None) -> None:
        self._app, self._trace_project = app, trace_project
        self._refusals = Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = RequestContext(request_id(Headers(scope=scope).get(ID_HEADER)))
        context.attach(scope)
        trace = trace_of(scope)
        fields = trace.log_fields(self._trace_project) if trace else {}
        structlog.contextvars.clear_contextvars()  # uvicorn starts a pipelined request within the one before
        with structlog.contextvars.bound_contextvars(request_id=context.request_id, **fields):
            await _Exchange(self._app, scope, context, send, self._refusals).run(receive)


class _Exchange:
    """One request and its answer."""

    def __init__(self, app: ASGIApp, scope: Scope, context: RequestContext, send: Send, refusals: Refusals) -> None:
        self._app, self._scope, self._context, self._send = app, scope, context, send
        self._refusals = refusals
        self._status: int | None = None
        self._received, self._sent = 0, 0

    async def run(self, receive: Receive) -> None:
        started = perf_counter()
        try:
            await self._app(self._scope, self._counting(receive), self._send_with_id)
        except asyncio.CancelledError:
            # The server stops, and the time for what is in flight is over.
            if self._status is not None:
                raise
            await self._answer(_stopping(services_of(HTTPConnection(self._scope))), receive)
        except Exception as error:
            _log.exception("unhandled_exception")
            if self._status is not None:
                raise  # half an answer is out; the server must break the connection
            no_room = isinstance(error, OSError) and error.errno in NO_ROOM
            await self._answer(_no_room(services_of(HTTPConnection(self._scope))) if no_room else error, receive)
        finally:
            self._count(perf_counter() - started)
            self._log_line(elapsed_ms(started))

    async def _answer(self, error: Exception, receive: Receive) -> None:
        response = await render(Request(self._scope), error)
        await response(self._scope, receive, self._send_with_id)

    def _counting(self, receive: Receive) -> Receive:
        async def counted() -> Message:
            message = await receive()
            self._received += len(message.get("body", b""))
            return message

        return counted

    async def _send_with_id(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[ID_HEADER] = self._context.request_id
            headers.update(self._context.headers)
        self._sent += len(message.get("body", b""))
        await self._send(message)

    def _count(self, seconds: float) -> None:
        services: Services | None = self._scope["state"].get("services")  # not there before the application has opened
        if services is not None:
            error = self._context.error
            exchange = Exchange(self._scope, self._status, seconds, self._received, self._sent, error)
            services.metrics.exchanged(exchange)

    def _log_line(self, duration_ms: float) -> None:
        refused = self._status is not None and self._status // 100 == CLIENT_ERRORS
        if not self._refusals.lets_through(refused=refused):
            return
        _log.info(
            "request",
            method=self._scope["method"],
            path=self._scope["path"][:MAX_LOGGED_PATH],
            status=self._status,
            duration_ms=duration_ms,
            **self._context.fields,
        )


def _no_room(services: Services) -> UnavailableError:
    return UnavailableError("The service has no room right now.", services.settings.retry_after_s)


def _stopping(services: Services) -> UnavailableError:
    return UnavailableError("The service is stopping.", services.settings.retry_after_s)


class BodyCap:
    """Refuses a body over the limit: by its declared length before reading, else at the byte that is too many."""

    def __init__(self, app: ASGIApp, max_bytes: int, refusal: Callable[[], ApiError]) -> None:
        self._app, self._max_bytes, self._refusal = app, max_bytes, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if _declared_bytes(scope) > self._max_bytes:
            raise self._refusal()
        read = 0

        async def capped() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise self._refusal()
            return message

        await self._app(scope, capped, send)


class BodyDeadline:
    """Refuses a body that does not arrive in time: a whole deadline, and a pace that a stalled one does not keep."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._whole_s, self._stall_s = app, settings.body_timeout_s, settings.stall_timeout_s
        self._pace = settings.min_transfer_rate * settings.stall_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        now = asyncio.get_running_loop().time
        whole, pace_until, paced, more = now() + self._whole_s, now() + self._stall_s, 0, True

        async def timed() -> Message:
            nonlocal pace_until, paced, more
            if not more:  # it waits for the client to hang up
                return await receive()
            try:
                async with asyncio.timeout_at(min(whole, pace_until) if self._pace else whole):
                    message = await receive()
            except TimeoutError as error:
                services_of(HTTPConnection(scope)).metrics.limited("body_time")
                raise SlowRequestError from error
            more, paced = message.get("more_body", False), paced + len(message.get("body", b""))
            if paced >= self._pace:
                pace_until, paced = now() + self._stall_s, 0
            return message

        await self._app(scope, timed, send)


class HoldBody:
    """Takes a body's bytes from the budget before they are read, and gives them back with the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        services, read = services_of(HTTPConnection(scope)), 0
        with services.uploads.hold() as hold:

            def grow(size: int) -> None:
                try:
                    hold(size)
                except UnavailableError:
                    services.metrics.limited("upload_bytes")
                    raise

            async def counted() -> Message:
                nonlocal read
                message = await receive()
                read += len(message.get("body", b""))
                grow(read)
                return message

            grow(_declared_bytes(scope))
            await self._app(scope, counted, send)


def _declared_bytes(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared) if declared.isdecimal() else 0


class RequireKey:
    """Lets a request in by its API key and notes the key's short id for the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        connection = HTTPConnection(scope)
        key = services_of(connection).keys.identify(connection.headers.get(KEY_HEADER))
        context = context_of(connection)
        context.key = key
        context.note(key_id=key.id if key else None)
        await self._app(scope, receive, send)


class LimitRate:
    """Counts a request against its client's rate and refuses it past that; whatever the answer, it tells the rate."""

    def __init__(self, app: ASGIApp, bucket: Bucket) -> None:
        self._app, self._bucket = app, bucket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        connection = HTTPConnection(scope)
        services, context = services_of(connection), context_of(connection)
        client = counted_as(connection, context.key, services.settings.trusted_proxies)
        rate = services.limiter.rate(self._bucket, context.key)
        context.headers.update(rate.policy_headers())
        counted = await services.limiter.hit(rate, client)
        context.headers.update(rate.left_headers(counted))
        if not counted.allowed:
            raise rate.refusal(counted)
        await self._app(scope, receive, send)


class CountActive:
    """Counts a request as active while it is served."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        with services_of(HTTPConnection(scope)).activity.request():
            await self._app(scope, receive, send)


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


class TraceLayer:
    """Around everything: its span lasts from a request's first byte to its answer's last."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        services: Services | None = scope.get("state", {}).get("services")
        if scope["type"] != "http" or services is None or services.spans is None:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else None
        with services.spans.request(method, Headers(scope=scope)) as span:
            if ids := span.ids():
                TraceParent(*ids).attach(scope)
            try:
                await self._app(scope, receive, _Answer(scope, send, span).send)
            finally:
                _name(span, method, scope)


class _Answer:
    """Notes the status on its way to the client."""

    def __init__(self, scope: Scope, send: Send, span: HttpSpan) -> None:
        self._scope, self._send, self._span = scope, send, span

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            context: RequestContext | None = self._scope["state"].get("context")
            self._span.answered(message["status"], LOWEST_ERROR, context.error if context else None)
        await self._send(message)


def _name(span: HttpSpan, method: str | None, scope: Scope) -> None:
    endpoint = endpoint_of(scope)
    span.routed(method or "HTTP", None if endpoint == UNMATCHED else endpoint)
