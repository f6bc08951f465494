"""Rows on standard output: a table for people, CSV and JSON lines for programs."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gateway import client
from gateway.command.options import Exit

STYLES = {"ai_generated": "bold red", "real": "green"}
WORDS = {"ai_generated": "AI-generated", "real": "real"}
WIDEST = 100_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t")


@dataclass(frozen=True)
class Row:
    """An image's line; the fields are CSV's columns and JSON's names, in their order."""

    photo: str
    prediction: client.Prediction | None = None
    probability: float | None = None
    confidence: client.Confidence | None = None
    inference_time_ms: float | None = None
    model_version: str | None = None
    heatmap: str | None = None
    evidence: Sequence[client.Evidence] | None = None
    code: str | None = None
    error: str | None = None


def row_of(name: str, outcome: client.Outcome, heatmap: str | None) -> Row:
    """Put a verdict or a failure into a line."""
    if isinstance(outcome, client.Failure):
        return Row(name, code=outcome.error.code, error=outcome.error.detail or outcome.error.title)
    return Row(
        name, **outcome.model_dump(exclude={"heatmap_base64", "evidence"}), heatmap=heatmap, evidence=outcome.evidence
    )


@dataclass
class Tally:
    """Counts outcomes and derives the command's exit code."""

    fail_on: str | None
    predictions: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    failures: list[client.GatewayError] = field(default_factory=list)

    def add(self, outcome: client.Outcome) -> None:
        """Count an image."""
        if isinstance(outcome, client.Failure):
            self.failures.append(outcome.error)
        else:
            self.predictions[outcome.prediction] += 1
            self.empty += isinstance(outcome, client.Explanation) and outcome.heatmap_is_empty

    @property
    def count(self) -> int:
        """Images so far."""
        return self.predictions.total() + len(self.failures)

    @property
    def advice(self) -> str:
        """What to do about the first failure that is not the image's own."""
        return next((str(one) for one in self.failures if one.again or isinstance(one, client.KeyRefusedError)), "")

    def summary(self) -> str:
        """Summarise the counts."""
        photos = "1 photo" if self.count == 1 else f"{self.count} photos"
        told = f"{photos}: {self.predictions['ai_generated']} ai_generated, {self.predictions['real']} real"
        told += f", {len(self.failures)} without a prediction" if self.failures else ""
        empty = "1 heat map is" if self.empty == 1 else f"{self.empty} heat maps are"
        return f"{told}; {empty} empty: no region supports the prediction" if self.empty else told

    def exit(self) -> Exit:
        """The most severe outcome wins, but a match of --fail-on outweighs an image without a prediction."""
        if any(isinstance(one, client.KeyRefusedError) for one in self.failures):
            return Exit.KEY_REFUSED
        if any(one.again for one in self.failures):
            return Exit.UNREACHABLE
        if self.predictions[self.fail_on or ""]:
            return Exit.FOUND
        return Exit.NOT_PREDICTED if self.failures else Exit.DONE


@contextmanager
def writing(form: str, *, evidence: bool) -> Iterator[Callable[[Row], None]]:
    """Yield what puts out a row: JSON and CSV at once, a table's when all are there or the command was interrupted."""
    # A file's name may be any bytes; they come out as they are.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    if form == "json":
        yield lambda row: print(json.dumps(vars(row), default=BaseModel.model_dump), flush=True)
    elif form == "csv":
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow([column.name for column in fields(Row)])
        sys.stdout.flush()

        def write(row: Row) -> None:
            lines.writerow((vars(row) | {"photo": _no_formula(row.photo), "evidence": _evidence(row)}).values())
            sys.stdout.flush()

        yield write
    else:
        rows: list[Row] = []
        try:
            yield rows.append
        finally:
            if rows:
                _show(_table(rows, evidence=evidence))


def _table(rows: Sequence[Row], *, evidence: bool) -> Table:
    titles = ["photo", "verdict", "probability", "confidence"]
    titles += ["evidence"] if evidence else []
    titles += ["heat map"] if any(row.heatmap for row in rows) else []
    table = Table(*titles)
    for column in table.columns:
        column.overflow = "fold"
    table.columns[2].justify = "right"
    for row in rows:
        table.add_row(*[_cell(row, title) for title in titles])
    return table


def _cell(row: Row, title: str) -> Text:
    if title == "verdict" and row.prediction is None:
        return Text(_printable(f"no prediction: {row.error}"), style="yellow")
    if title == "verdict" and row.prediction is not None:
        return Text(WORDS[row.prediction], style=STYLES[row.prediction])
    if title == "probability":
        return Text("" if row.probability is None else f"{row.probability:.4f}")
    if title == "evidence":
        return Text(_printable(_evidence(row)))
    return Text(_printable(getattr(row, title.replace(" ", "")) or ""))


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


@dataclass(frozen=True)
class Reporter:
    """Moves the bar if it is shown, else writes a line per wait."""

    bar: Progress
    task: TaskID
    quiet: bool

    def advance(self) -> None:
        """An image is done."""
        self.bar.update(self.task, advance=1, description="checking")

    def waiting(self, seconds: float, error: client.GatewayError) -> None:
        """The gateway is given time: say how long and why."""
        said = f"waiting {seconds:.0f} s: {error.title[0].lower()}{error.title[1:]}"
        self.bar.update(self.task, description=said)
        if self.bar.disable and not self.quiet:
            print(said, file=sys.stderr, flush=True)


@contextmanager
def reporting(total: int, *, quiet: bool, rows_come: bool) -> Iterator[Reporter]:
    """Open the reporter; rows that come into the same terminal leave no place for a bar."""
    no_bar = quiet or not sys.stderr.isatty() or (rows_come and sys.stdout.isatty())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    error = Console(stderr=True)
    with Progress(*columns, console=error, transient=True, redirect_stdout=False, disable=no_bar) as bar:
        yield Reporter(bar, bar.add_task("checking", total=total), quiet)
