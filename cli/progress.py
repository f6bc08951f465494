"""Progress on standard error: a bar in a terminal, lines about waits elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.client import GatewayError


class Reporter:
    """Reports nothing."""

    def advance(self) -> None:
        """A photo is done."""

    def waiting(self, seconds: float, error: GatewayError) -> None:
        """The gateway is given time."""


class LineReporter(Reporter):
    """Writes a line a wait."""

    def waiting(self, seconds: float, error: GatewayError) -> None:
        """Report how long and why."""
        print(_wait(seconds, error), file=sys.stderr, flush=True)


class BarReporter(Reporter):
    """Moves a bar."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("checking", total=total)

    def advance(self) -> None:
        """Move on by one."""
        self._progress.update(self._task, advance=1, description="checking")

    def waiting(self, seconds: float, error: GatewayError) -> None:
        """Show it beside the bar."""
        self._progress.update(self._task, description=_wait(seconds, error))


@contextmanager
def reporting(total: int, *, quiet: bool, rows_come: bool) -> Iterator[Reporter]:
    """Open the reporter that fits; rows that come into the same terminal leave no place for a bar."""
    if quiet:
        yield Reporter()
    elif not sys.stderr.isatty() or (rows_come and sys.stdout.isatty()):
        yield LineReporter()
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
            yield BarReporter(progress, total)


def _wait(seconds: float, error: GatewayError) -> str:
    return f"waiting {seconds:.0f} s: {error.title[0].lower()}{error.title[1:]}"
