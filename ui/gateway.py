"""The page's one way to the gateway: its client, opened for one check at a time, and errors in the page's words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from gateway.client import AsyncClient, GatewayError
from ui.errors import in_page_words
from ui.settings import Settings

# Bytes of photos on their way to the gateway at once, and what it holds of one photo and of one request of many.
ON_THE_WAY_MAX = 128 * 1024 * 1024
COPIES = 3
REQUEST_MAX = 50 * 1024 * 1024


class Gateway:
    """Where the gateway is; `transport` replaces the network in tests."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._transport = transport
        self._free = ON_THE_WAY_MAX
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def room(self, *sizes: int) -> AsyncIterator[None]:
        """Wait until photos of these sizes have room in memory among those of everybody else."""
        wanted = min(sum(sorted(sizes)[-10:]), REQUEST_MAX) if len(sizes) > 1 else sum(sizes) * COPIES
        wanted = min(wanted, ON_THE_WAY_MAX)
        async with self._freed:
            await self._freed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            self._free += wanted
            async with self._freed:
                self._freed.notify_all()

    @asynccontextmanager
    async def client(self, key: str = "", caller: str = "") -> AsyncIterator[AsyncClient]:
        """Open a client with the reviewer's key and, for the gateway's rates, the reviewer's address.

        Raises:
            CheckError: What was done with the client has failed.
        """
        settings = self._settings
        try:
            async with AsyncClient(
                settings.gateway_url,
                timeout_s=settings.timeout_s,
                transport=self._transport,
                user_agent="product-photo-page",
            ) as client:
                yield client.acting_for(api_key=key.strip(), caller=caller)
        except GatewayError as error:
            raise in_page_words(error) from error
