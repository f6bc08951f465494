"""What one request carries along: its id, its client's name and its log line; and how the process logs."""

import atexit
import logging
import re
import sys
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import Final, TextIO, TypeVar, cast

import structlog
from starlette.requests import HTTPConnection
from structlog.typing import Processor

_ACCEPTABLE_ID: Final = re.compile(r"[\x20-\x7e]{1,128}")
Result = TypeVar("Result")
REFUSALS_A_SECOND: Final = 50
"""Lines a second about requests that were refused: anybody can cause them, with or without a key."""
_log = structlog.get_logger()


@dataclass(frozen=True)
class ApiKey:
    """An accepted key: the id that logs and counters know it by, its SHA-256, and its own rates a minute."""

    id: str
    digest: bytes = field(repr=False)
    rates: Mapping[str, int] = field(default_factory=dict)


def request_id(presented: str | None) -> str:
    """The client's id when it is 1 to 128 printable ASCII characters, else a new one."""
    trimmed = (presented or "").strip()
    return trimmed if _ACCEPTABLE_ID.fullmatch(trimmed) else uuid.uuid4().hex


@dataclass
class RequestContext:
    """One request's id and API key, what came of it, and what others add to its log line and its answer's headers."""

    request_id: str
    key: ApiKey | None = None
    status: int | None = None
    """None: the client was gone before it got one."""
    error: str | None = None
    received: int = 0
    sent: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str | int | float | None] = field(default_factory=dict)

    def note(self, **fields: str | float | None) -> None:
        """Add fields to the log line; never a key, a file name or content."""
        self.fields.update(fields)

    def failed(self, code: str) -> None:
        """Remember the code of the error that was answered, and log it."""
        self.error = code
        self.note(error=code)


def context_of(connection: HTTPConnection) -> RequestContext:
    """The context of a request."""
    return cast(RequestContext, connection.state.context)


def elapsed_ms(since: float) -> float:
    """Milliseconds since a reading of `perf_counter`, with one decimal."""
    return round((perf_counter() - since) * 1000, 1)


async def timed(call: Awaitable[Result]) -> tuple[Result, float]:
    """What a call gives, and the milliseconds that it took."""
    started = perf_counter()
    return await call, elapsed_ms(started)


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

    @staticmethod
    def let_go() -> None:
        """Forget what could not be written, which Python would try again at exit and end with an error."""
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            sys.stderr = None  # as Python has it where there is none


def configure() -> None:
    """Send structlog's events, and what uvicorn and others log, to standard error in one format."""
    atexit.register(Lines.let_go)
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
