"""Headers that tell browsers how little this service needs, and CORS for the origins that a setting allows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# No Strict-Transport-Security: only the proxy that ends TLS knows whether the name is served by HTTPS alone.
JSON_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
PAGE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
SWAGGER_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-cache",  # an ETag answers the question
    # Swagger UI draws its icons from data addresses and calls the API from the page.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}

ASKED_HEADERS: Final = ("X-API-Key", "X-Request-ID")
EXPOSED_HEADERS: Final = ("X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy")
PREFLIGHT: Final = "access-control-request-method"


class DefaultHeaders:
    """Adds headers to every answer that has not set them itself; the innermost layer wins."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            send = partial(self._send, send)
        await self._app(scope, receive, send)

    async def _send(self, send: Send, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await send(message)


class Cors(CORSMiddleware):
    """Starlette's CORS, but a preflight goes on to its route: its answer is an `OPTIONS` with an id and a log line."""

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=ASKED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        await self.simple_response(scope, receive, partial(self._send, send, headers), headers)

    async def _send(self, send: Send, request_headers: Headers, message: Message) -> None:
        if message["type"] == "http.response.start" and PREFLIGHT in request_headers and "origin" in request_headers:
            allowed = self.preflight_response(request_headers).headers
            answer = MutableHeaders(scope=message)
            answer.update({name: value for name, value in allowed.items() if name.startswith("access-control-")})
            answer.add_vary_header(allowed["vary"])
        await send(message)
