"""Exit codes, for scripts; docs/command-line.md lists them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a command has ended."""

    DONE = 0
    FOUND = 1
    """At least one photo is what --fail-on names."""
    USAGE = 2
    """The command cannot be run as it was given."""
    UNJUDGED = 3
    """At least one photo got no verdict."""
    UNREACHABLE = 4
    """The service was away, not ready or over its rate to the end."""
    KEY_REFUSED = 5
    STOPPED = 130
    """Ctrl-C, as shells say it."""
    PIPE_CLOSED = 141
    """Whoever read the output has gone, as shells say it."""


class CommandError(Exception):
    """A command failed; the message is one line that says what to do."""
