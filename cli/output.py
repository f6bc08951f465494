"""Rows on standard output: a table for people, CSV and JSON lines for programs."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict, fields
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.rows import Row

STYLES = {"ai_generated": "bold red", "real": "green"}
WORDS = {"ai_generated": "AI-generated", "real": "real"}
WIDEST = 100_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t")


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
