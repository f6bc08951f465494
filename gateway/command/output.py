"""Rows on standard output: a table for people, CSV and JSON lines for programs."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gateway.client import (
    Confidence,
    Evidence,
    Explanation,
    Failure,
    GatewayError,
    KeyRefusedError,
    Outcome,
    Prediction,
    Verdict,
)
from gateway.command.options import Exit

STYLES = {"ai_generated": "bold red", "real": "green"}
WORDS = {"ai_generated": "AI-generated", "real": "real"}
WIDEST = 100_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t")


@dataclass(frozen=True)
class Row:
    """A photo's line; the fields are CSV's columns and JSON's names, in their order."""

    photo: str
    prediction: Prediction | None = None
    probability: float | None = None
    confidence: Confidence | None = None
    inference_time_ms: float | None = None
    model_version: str | None = None
    heatmap: str | None = None
    evidence: Sequence[Evidence] | None = None
    code: str | None = None
    error: str | None = None


def row_of(name: str, outcome: Outcome, heatmap: str | None) -> Row:
    """Put a verdict or a failure into a line."""
    if isinstance(outcome, Failure):
        error = outcome.error
        return Row(name, code=error.code, error=error.detail or error.title)
    return Row(
        name,
        outcome.prediction,
        outcome.probability,
        outcome.confidence,
        outcome.inference_time_ms,
        outcome.model_version,
        heatmap,
        outcome.evidence,
    )


class Tally:
    """Counts outcomes and derives the command's exit code."""

    def __init__(self, fail_on: str | None) -> None:
        self._fail_on = fail_on
        self._predictions: list[str] = []
        self._empty = 0
        self._failures: list[Failure] = []

    def add(self, outcome: Outcome) -> None:
        """Count a photo."""
        if isinstance(outcome, Verdict):
            self._predictions.append(outcome.prediction)
            self._empty += isinstance(outcome, Explanation) and outcome.heatmap_is_empty
        else:
            self._failures.append(outcome)

    @property
    def count(self) -> int:
        """Photos so far."""
        return len(self._predictions) + len(self._failures)

    @property
    def advice(self) -> str:
        """What to do about the first failure that is not the photo's own."""
        return next((str(one.error) for one in self._failures if _is_service(one)), "")

    def summary(self) -> str:
        """Summarise the counts."""
        generated = self._predictions.count("ai_generated")
        photos = "1 photo" if self.count == 1 else f"{self.count} photos"
        told = f"{photos}: {generated} ai_generated, {self._predictions.count('real')} real"
        told += f", {len(self._failures)} without a prediction" if self._failures else ""
        empty = "1 heat map is" if self._empty == 1 else f"{self._empty} heat maps are"
        return f"{told}; {empty} empty: no region supports the prediction" if self._empty else told

    def exit(self) -> Exit:
        """The most severe outcome wins, but a match of --fail-on outweighs an image without a prediction."""
        if any(isinstance(one.error, KeyRefusedError) for one in self._failures):
            return Exit.KEY_REFUSED
        if any(one.error.again for one in self._failures):
            return Exit.UNREACHABLE
        if self._fail_on in self._predictions:
            return Exit.FOUND
        return Exit.UNJUDGED if self._failures else Exit.DONE


def _is_service(failure: Failure) -> bool:
    return failure.error.again or isinstance(failure.error, KeyRefusedError)


class Writer(Protocol):
    """Takes rows one by one, and ends what it has written with its block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, row: Row) -> None:
        """Put out a row."""


def writer(form: str, *, evidence: bool) -> Writer:
    """Return the writer of a form of output."""
    # A file's name may be any bytes; they come out as they are.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    if form == "table":
        return TableWriter(evidence=evidence)
    return CsvWriter() if form == "csv" else JsonWriter()


class _Lines:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class JsonWriter(_Lines):
    """A JSON object a line."""

    def write(self, row: Row) -> None:
        """Put out a row at once."""
        print(json.dumps(asdict(row)), flush=True)


class CsvWriter(_Lines):
    """A header, and a row a photo."""

    def __init__(self) -> None:
        self._csv = csv.writer(sys.stdout, lineterminator="\n")
        self._csv.writerow([field.name for field in fields(Row)])
        sys.stdout.flush()

    def write(self, row: Row) -> None:
        """Put out a row at once."""
        values = asdict(row) | {"photo": _no_formula(row.photo), "evidence": _evidence(row)}
        self._csv.writerow(values.values())
        sys.stdout.flush()


class TableWriter:
    """Collects the rows and shows them as one table, also when interrupted."""

    def __init__(self, *, evidence: bool) -> None:
        self._rows: list[Row] = []
        self._evidence = evidence

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rows:
            _show(self._table())

    def write(self, row: Row) -> None:
        """Keep a row."""
        self._rows.append(row)

    def _table(self) -> Table:
        titles = ["photo", "verdict", "probability", "confidence"]
        titles += ["evidence"] if self._evidence else []
        titles += ["heat map"] if any(row.heatmap for row in self._rows) else []
        table = Table(*titles)
        for column in table.columns:
            column.overflow = "fold"
        table.columns[2].justify = "right"
        for row in self._rows:
            table.add_row(*[_cell(row, title) for title in titles])
        return table


def _cell(row: Row, title: str) -> Text:
    cells = {
        "photo": row.photo,
        "probability": "" if row.probability is None else f"{row.probability:.4f}",
        "confidence": row.confidence or "",
        "evidence": _evidence(row),
        "heat map": row.heatmap or "",
    }
    if title == "verdict":
        return _verdict(row)
    return Text(_printable(cells[title]))


def _verdict(row: Row) -> Text:
    if row.prediction is None:
        return Text(_printable(f"no prediction: {row.error}"), style="yellow")
    return Text(WORDS[row.prediction], style=STYLES[row.prediction])


def _show(table: Table) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:  # no window's width cuts what a program reads
        console.width = max(console.width, Console(width=WIDEST).measure(table).maximum)
    with console.capture() as captured:  # Rich would end the program by itself when a pipe is closed
        console.print(table)
    sys.stdout.write(captured.get())
    sys.stdout.flush()


def _evidence(row: Row) -> str:
    return "; ".join(f"{one.value} ({one.type}, {one.strength})" for one in row.evidence or ())


def _printable(text: str) -> str:
    """Show what a terminal would obey as a replacement character; file names come from strangers."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _no_formula(name: str) -> str:
    """Keep a spreadsheet from running a file's name as a formula; the name still leads to the file."""
    return f"./{name}" if name.startswith(FORMULA_STARTS) and name != "-" else name


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
