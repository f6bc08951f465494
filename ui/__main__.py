"""Serve the page until it is stopped: `python -m ui`."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ui.settings import BadSettingError, Settings

CONNECTIONS_MAX = 512
HEAD_S = 10.0
GOODBYE_S = 2


class Protocol(H11Protocol):
    """uvicorn's protocol, which alone would wait for ever for a request's head."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._hang_up_unless_asked(None)

    def _hang_up_unless_asked(self, cycle: Any) -> None:  # noqa: ANN401  # uvicorn's
        if self.transport.is_closing():
            return
        # Between requests the head of the next is waited for; whoever got their answer is given as long again.
        if self._waited and self.conn.their_state is h11.IDLE and self.cycle is cycle:
            self.transport.close()
        else:
            self._waited = True
            self.loop.call_later(HEAD_S, self._hang_up_unless_asked, self.cycle)

    _waited = False


class Server(uvicorn.Server):
    """uvicorn, printing the page's address."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start and print the address."""
        await super().startup(sockets)
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(self.config.host, self.config.host)  # noqa: S104
        sys.stdout.write(f"The page is at http://{f'[{host}]' if ':' in host else host}:{self.config.port}/\n")
        sys.stdout.flush()


def serve(app: ASGIApp, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        OSError: The address is in use, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    both = settings.host == "::" and socket.has_dualstack_ipv6()  # all addresses are those of both families
    with socket.create_server((settings.host, settings.port), family=family, dualstack_ipv6=both) as listener:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=Protocol,
            ws="none",
            log_level="warning",
            server_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_graceful_shutdown=GOODBYE_S,
        )
        Server(config).run([listener])


def main() -> int:
    """Run the page; SIGINT or SIGTERM stops it and removes every photo that it still holds."""
    # uvicorn raises the signal again once it has shut down; the default actions would make that a failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        settings = Settings.from_env()
        with _private_gradio(settings) as folder:
            # Gradio reads the environment set above when it is imported.
            from ui import page  # noqa: PLC0415
            from ui.gateway import Gateway  # noqa: PLC0415

            serve(page.application(Gateway(settings), settings, folder), settings)
    except (BadSettingError, OSError) as error:
        sys.stderr.write(f"The page cannot start: {error}\n")
        return 1
    return 0


@contextmanager
def _private_gradio(settings: Settings) -> Iterator[Path]:
    # Gradio has no other switch for these: where uploads lie, whether it calls home, and what it notes of every event.
    # No proxy comes between the page and the gateway, and it has nobody else to ask.
    with tempfile.TemporaryDirectory(prefix="photo-page-", dir=settings.photo_folder) as name:
        folder = Path(name).resolve()
        os.environ |= {
            "GRADIO_TEMP_DIR": str(folder),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_ANALYTICS_MAX_EVENTS": "1",
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "*",
            "no_proxy": "*",
        }
        yield folder


if __name__ == "__main__":
    sys.exit(main())
