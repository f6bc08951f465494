"""Serve the page until it is stopped: `python -m ui`."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ui.gateway import Gateway
from ui.settings import BadSetting, Settings


def main() -> int:
    """Run the page; SIGINT or SIGTERM stops it and removes every photo that it still holds."""
    # uvicorn raises the signal again once it has shut down; the default actions would make that a failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        settings = Settings.from_env()
        with _private_gradio(settings) as folder:
            from ui import page, server  # noqa: PLC0415  # Gradio reads the environment set above when it is imported

            server.serve(page.application(Gateway(settings), settings, folder), settings)
    except (BadSetting, OSError) as error:
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
