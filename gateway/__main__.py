"""Run the gateway: `python -m gateway`."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from gateway import server
from gateway.settings import Settings


def main() -> None:
    """Serve until SIGTERM or SIGINT, finish what is in flight, and exit with 0."""
    settings = Settings()
    # uvicorn raises the signal again once it has shut down; the default actions would make that a failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    server.build(settings).run()


def _exit(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
