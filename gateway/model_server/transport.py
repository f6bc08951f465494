"""How calls reach the model server: httpx's requests over aiohttp's connections, a tenth of the cost of its own."""

from __future__ import annotations

from typing import Final

import aiohttp
import httpx

IDLE_S: Final = 5
"""Seconds for which an unused connection is kept."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Plain requests over a pool of connections; to be built while the event loop runs."""

    def __init__(self, connections: int, connect_timeout_s: float) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, keepalive_timeout=IDLE_S, ssl=httpx.create_ssl_context(trust_env=False)
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # httpx does it
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),  # the request says all there is to say
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make one attempt and read the whole answer.

        Raises:
            httpx.TransportError: There is no answer.
        """
        try:
            async with self._session.request(
                request.method,
                str(request.url),
                # As they were written: TorchServe's handlers tell upper case from lower.
                headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
                data=request.stream,
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise _in_httpx_words(error) from error
        return httpx.Response(answer.status, headers=answer.raw_headers, content=content, request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


def _in_httpx_words(error: Exception) -> httpx.TransportError:
    # Only what happened before the request was sent may look like a failure to connect: those are tried again.
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout("no connection in time")
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx.ConnectError("no connection")
    return httpx.ReadError("no whole answer")
