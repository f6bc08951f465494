"""The page's one way to the gateway: its client, opened for one check at a time, and errors in the page's words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from gateway.client import AsyncClient, GatewayError
from ui.errors import in_page_words
from ui.settings import Settings


class Gateway:
    """Where the gateway is; `transport` replaces the network in tests."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._transport = transport

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
