"""The page's one way to the gateway: its client, opened for one check at a time, and errors in the page's words."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx

from gateway.client import AsyncClient, GatewayError
from gateway.client.checking import BATCH_BYTES, BATCH_FILES
from ui.errors import in_page_words
from ui.settings import Settings

# Bytes of photos on their way to the gateway at once: single ones, of which there are copies, and those of batches,
# which send one request at a time. Apart, since a batch may take minutes and a reviewer of one photo does not wait.
SINGLES_MAX, BATCHES_MAX = 64 * 1024 * 1024, 100 * 1024 * 1024
COPIES = 3


class Memory:
    """A budget of bytes; requests for more wait."""

    def __init__(self, most: int) -> None:
        self._most = self._free = most
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def room(self, wanted: int) -> AsyncIterator[None]:
        """Wait until there is room, at most all of it, and hold it."""
        wanted = min(wanted, self._most)
        async with self._freed:
            await self._freed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            self._free += wanted
            async with self._freed:
                self._freed.notify_all()


class Gateway:
    """Where the gateway is; `transport` replaces the network in tests."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._transport = transport
        self._singles, self._batches = Memory(SINGLES_MAX), Memory(BATCHES_MAX)

    def room(self, size: int) -> AbstractAsyncContextManager[None]:
        """Wait until a photo of this size has room in memory."""
        return self._singles.room(size * COPIES)

    def room_of_batch(self, sizes: Sequence[int]) -> AbstractAsyncContextManager[None]:
        """Wait until the largest request that photos of these sizes can make has room in memory."""
        return self._batches.room(min(sum(sorted(sizes)[-BATCH_FILES:]), BATCH_BYTES))

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
