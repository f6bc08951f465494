"""The HTTP server, and how it stops: nothing that was accepted is lost, and nothing holds it up for ever."""

from __future__ import annotations

import asyncio
import resource
import socket
from functools import partial
from typing import Any, Final, cast

import httptools
import structlog
import uvicorn
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway import app, context, metrics, middleware, security
from gateway.errors import ApiError, SlowRequestError, UnavailableError, as_api_error, error_body
from gateway.services import Services
from gateway.settings import Settings

MAX_HEAD_BYTES: Final = 64 * 1024
"""Bytes that may have come since a request's last byte that the application gets: of its line, headers or trailers."""
MAX_HEADERS: Final = 100
"""Headers and trailers of a request; an empty one costs thirty times its bytes in memory."""
MAX_PIPELINED: Final = 16
"""Requests that may have come before the one ahead of them is answered."""
SPARE_FILES: Final = 64
"""Descriptors for what is neither a connection nor a call to the model server."""

_log = structlog.get_logger()
LAST_CALL_S: Final = 1.0
"""Between the last connection that is let in and the goodbye to idle ones, so that requests under way arrive."""
CLOSE: Final = (b"connection", b"close")


class Connections:
    """The connections of one server, never more than `most`: a new one takes the place of the longest idle one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.most = _affordable(settings)
        self._open: set[Protocol] = set()
        self._idle: dict[Protocol, None] = {}

    def admit(self, newcomer: Protocol) -> bool:
        """Let a connection in, or say that all others have a request that is not answered yet."""
        if len(self._open) >= self.most:
            longest = next(iter(self._idle), None)
            if longest is None:
                return False
            self.gone(longest)
            longest.make_room()
        self._open.add(newcomer)
        self.waits(newcomer)
        return True

    def waits(self, connection: Protocol) -> None:
        """Note that a connection waits for a request from now on."""
        if connection in self._open:
            self._idle[connection] = None

    def works(self, connection: Protocol) -> None:
        """Note that a request has come."""
        self._idle.pop(connection, None)

    def is_idle(self, connection: Protocol) -> bool:
        """Whether it waits for a request."""
        return connection in self._idle

    def gone(self, connection: Protocol) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._idle.pop(connection, None)


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with deadlines for heads and for readers of answers, and bounds on what it keeps."""

    def __init__(self, *args: Any, connections: Connections, **given: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **given)
        self._shared = connections
        self._settings = connections.settings
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._head_begun = False
        self._unsent = 0
        self._steps = 0
        self._bytes_since_step = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Let the connection in and expect a head, or refuse it."""
        super().connection_made(transport)
        if self._shared.admit(self):
            self._expect_head()
        else:
            self._count("connections")
            self._refuse(UnavailableError("Too many connections."))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._shared.gone(self)
        self._stop_head_timer()
        if self._answer_timer is not None:
            self._answer_timer.cancel()
        super().connection_lost(exc)

    def make_room(self) -> None:
        """Hang up for a newcomer."""
        self._count("idle_connections")
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on, unless too much has come that is no body; the parser itself would keep any amount of it."""
        if self.transport.is_closing():
            return
        steps = self._steps
        super().data_received(data)
        self._bytes_since_step = self._bytes_since_step + len(data) if steps == self._steps else 0
        if self.transport.is_closing():
            return
        if self._bytes_since_step > MAX_HEAD_BYTES:
            self.send_400_response("The request's head is too long.")
        elif self._head_timer is None and self._shared.is_idle(self):
            self._expect_head()  # uvicorn's own timer ends with the first byte

    def on_message_begin(self) -> None:
        """Note that a head has begun, which is one too many where nobody waits for the answers."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise httptools.HttpParserError
        self._head_begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header or trailer."""
        if len(self.headers) >= MAX_HEADERS:
            raise httptools.HttpParserError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note that a head has ended."""
        self._steps += 1
        self._head_begun = False
        self._stop_head_timer()
        self._shared.works(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that the request has moved on."""
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that what comes next is another request's head."""
        self._steps += 1
        if self._shared.is_idle(self):  # the rest of a body that was answered unread
            self._stop_head_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Expect the next request, or for a while the rest of this one's body; nothing waits for it any more."""
        unread = self.cycle.more_body
        super().on_response_complete()
        if self.cycle.response_complete:
            self._shared.waits(self)
            if unread and not self.transport.is_closing():
                self._unset_keepalive_if_required()
                self._expect_head()
        self._watch_reader()

    def pause_writing(self) -> None:
        """Hold the application, and the reader to its pace."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Let the application go on, and hold the reader to what is left."""
        super().resume_writing()
        self._watch_reader()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words for the same
        """Refuse what cannot be read, and hang up."""
        self._refuse(as_api_error(HTTPException(400)))

    def _refuse(self, refusal: ApiError) -> None:
        headers = {**security.JSON_HEADERS, **refusal.headers, "Connection": "close"}
        headers[middleware.ID_HEADER] = context.request_id(None)
        answer = JSONResponse(error_body(refusal).model_dump(), headers=headers)
        head = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
        self.transport.write(f"HTTP/1.1 {refusal.status} {refusal.title}\r\n".encode() + head + b"\r\n" + answer.body)
        self.transport.close()
        self._watch_reader()

    def _expect_head(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(self._settings.head_timeout_s, self._head_is_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        self._count("head_time")
        if self._head_begun:
            self._refuse(SlowRequestError())
        else:  # it never said anything, or goes on with a body that nobody reads
            self.transport.close()

    def _watch_reader(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None
        self._unsent = self.transport.get_write_buffer_size()
        if self._unsent:
            self._answer_timer = self.loop.call_later(self._settings.stall_timeout_s, self._check_reader)

    def _check_reader(self) -> None:
        taken = self._unsent - self.transport.get_write_buffer_size()
        if taken < min(self._unsent, self._settings.min_transfer_rate * self._settings.stall_timeout_s):
            self._count("answer_time")
            self.transport.abort()
        else:
            self._watch_reader()

    def _count(self, limit: metrics.Resource) -> None:
        services: Services | None = self.app_state.get("services")
        if services is not None:
            services.metrics.limited(limit)


def _affordable(settings: Settings) -> int:
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = SPARE_FILES + settings.backend_concurrency + settings.shadow_concurrency
    if allowed == resource.RLIM_INFINITY or settings.max_connections <= allowed - spare:
        return settings.max_connections
    most = max(allowed - spare, 1)
    _log.warning("max_connections_lowered", most=most, open_files_allowed=allowed)
    return most


class Server(uvicorn.Server):
    """uvicorn, which alone would hang up on a connection whose request has not been read yet."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in, tell those who are in to leave after their answer, and wait for what is in flight."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append(CLOSE)
        await asyncio.sleep(LAST_CALL_S)
        await super().shutdown(sockets)


def build(settings: Settings) -> Server:
    """A server for the gateway, not running yet."""
    return Server(
        uvicorn.Config(
            app.create_app(settings),
            host="" if settings.host == "::" else settings.host,  # asyncio takes :: for IPv6 alone, nothing for both
            port=settings.port,
            # A factory of protocols, which is all that uvicorn makes of its class.
            http=cast(type[Protocol], partial(Protocol, connections=Connections(settings))),
            ws="none",  # else a request for an upgrade would get an answer that is no JSON
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=settings.keep_alive_timeout_s,
            timeout_graceful_shutdown=settings.shutdown_timeout_s,
        )
    )
