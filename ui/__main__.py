"""Serve the page until it is told to stop: `python -m ui`."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ui.gateway import Gateway
from ui.settings import BadSetting, Settings


def main() -> int:
    """Run the page; SIGINT or SIGTERM stops it and removes every photo that it still holds."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        serve(Settings.from_env(), stop)
    except (BadSetting, OSError) as error:
        sys.stderr.write(f"The page cannot start: {error}\n")
        return 1
    return 0


def serve(settings: Settings, stop: threading.Event) -> None:
    """Serve the page until `stop` is set."""
    with _private_gradio(settings):
        from ui import page as pages  # noqa: PLC0415  # Gradio reads the environment set above when it is imported

        page = pages.build(Gateway(settings))
        pages.launch(page, settings)
        sys.stdout.write(f"The page is at {page.local_url}\n")
        sys.stdout.flush()
        stop.wait()
        page.close(verbose=False)


@contextmanager
def _private_gradio(settings: Settings) -> Iterator[None]:
    # Gradio has no other switch for these: where uploads lie, whether it calls home, and that it asks itself whether it
    # has started. That must not go through a proxy, and the page has nobody else to ask but the gateway.
    with tempfile.TemporaryDirectory(prefix="photo-page-", dir=settings.photo_folder) as folder:
        os.environ |= {
            "GRADIO_TEMP_DIR": folder,
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "*",
            "no_proxy": "*",
        }
        yield


if __name__ == "__main__":
    sys.exit(main())
