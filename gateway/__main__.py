"""Run the gateway: `python -m gateway`."""

import os
import signal
import sys

import structlog
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway import context, server
from gateway.settings import Settings, unknown_variables, variable

_log = structlog.get_logger()


def main() -> None:
    """Serve until SIGTERM or SIGINT, finish what is in flight, and exit with 0."""
    settings = _settings()
    # uvicorn raises the signal again once it has shut down; the default actions would make that a failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    server.build(settings).run()


def _settings() -> Settings:
    context.configure()
    for name, meant in unknown_variables(os.environ).items():
        _log.warning("setting_unknown", variable=name, meant=meant)
    try:
        return Settings()
    except ValidationError as error:
        sys.exit("\n".join(f"gateway: {_told(one)}" for one in error.errors(include_url=False, include_input=False)))


def _told(error: ErrorDetails) -> str:
    reason = error["msg"].removeprefix("Value error, ")
    # Settings are named as the environment has them; what is about several of them names them itself.
    names = [variable(str(name)) if name in Settings.model_fields else str(name) for name in error["loc"][:1]]
    return ": ".join([*names, reason])


if __name__ == "__main__":
    main()
