"""Run the gateway: `python -m gateway`."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import uvicorn

from gateway.app import create_app
from gateway.settings import Settings


def main() -> None:
    """Serve until SIGTERM or SIGINT, finish what is in flight, and exit with 0."""
    settings = Settings()
    signal.signal(signal.SIGTERM, _exit)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
    )


def _exit(_signal: int, _frame: FrameType | None) -> None:
    # uvicorn raises the signal again once it has shut down; the default action would make that exit 143.
    sys.exit(0)


if __name__ == "__main__":
    main()
