"""The layer that gives each request a span, where a collector is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.context import RequestContext
from gateway.metrics import METHODS, UNMATCHED, endpoint_of
from gateway.services import Services
from gateway.web.trace import TraceParent

if TYPE_CHECKING:
    from gateway.tracing.spans import HttpSpan

LOWEST_ERROR: Final = 500


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
