"""Structured logs: JSON lines for machines, coloured text on a terminal; no trouble with them costs an answer."""

from __future__ import annotations

import logging
import sys
from time import monotonic
from typing import Final, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

REFUSALS_A_SECOND: Final = 50
"""Lines a second about requests that were refused: anybody can cause them, with or without a key."""

_log: FilteringBoundLogger = structlog.get_logger()


class Refusals:
    """Lets through so many lines a second about what was refused, and tells how many it did not."""

    def __init__(self) -> None:
        self._since, self._lines = monotonic(), 0

    def lets_through(self, *, refused: bool) -> bool:
        """Whether a line may be written."""
        if (now := monotonic()) - self._since >= 1:
            missed, self._since, self._lines = self._lines - REFUSALS_A_SECOND, now, 0
            if missed > 0:
                _log.warning("refusals_not_logged", lines=missed)
        self._lines += refused
        return not refused or self._lines <= REFUSALS_A_SECOND

    def filter(self, record: logging.LogRecord) -> bool:
        """The same for uvicorn's warnings, each of which is about something that was no HTTP."""
        return self.lets_through(refused=record.levelno == logging.WARNING)


class Lines:
    """Standard error without its errors: a line that cannot be written is dropped and counted."""

    dropped = 0

    def write(self, text: str) -> None:
        """Write a line, if there is room for it."""
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):  # a full disk, a pipe that nobody reads any more, a closed file
            Lines.dropped += 1

    def flush(self) -> None:
        """Do nothing: every line goes out at once."""


def configure() -> None:
    """Send structlog's events, and what uvicorn and others log, to standard error in one format."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering = _rendering()
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.WriteLogger(cast(TextIO, Lines())),
    )
    _configure_standard_logging(shared, rendering)


def _rendering() -> list[Processor]:
    # Tracebacks are rendered without local variables: those hold images, file names and keys.
    if sys.stderr.isatty():
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _configure_standard_logging(shared: list[Processor], rendering: list[Processor]) -> None:
    logging.raiseExceptions = False
    handler = logging.StreamHandler(Lines())
    drop_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[drop_meta, *rendering])
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    server = logging.getLogger("uvicorn.error")
    server.setLevel(logging.INFO)
    server.filters = [Refusals()]
    # A malformed form is its request's line already; a client must not write several.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
