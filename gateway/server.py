"""The HTTP server, and how it stops: nothing that was accepted is lost, and nothing holds it up for ever."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Final, cast

import uvicorn

from gateway.app import create_app
from gateway.settings import Settings
from gateway.web.protocol import Connections, Protocol

LAST_CALL_S: Final = 1.0
"""Between the last connection that is let in and the goodbye to idle ones, so that requests under way arrive."""
CLOSE: Final = (b"connection", b"close")


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
            create_app(settings),
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
