"""Calls to the model server, each in a span of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx

if TYPE_CHECKING:
    from gateway.tracing.spans import Spans

LOWEST_ERROR: Final = 400


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
