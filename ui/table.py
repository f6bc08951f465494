"""The batch's table: rows as HTML, and the frame around them with its filters; the browser sorts and filters."""

import base64
import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypedDict

from gateway.client import GatewayError, Verdict
from ui import wording

FAILED = "failed"
CLOSELY = "closely"
SHEET_COLUMNS = ("number", "file", "prediction", "probability", "confidence", "model_version", "error")
# A spreadsheet would take a text that begins with one of these for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
FILTERS = (
    ("all", "All"),
    ("ai_generated", wording.VERDICTS["ai_generated"]),
    ("real", wording.VERDICTS["real"]),
    (CLOSELY, "Look closely"),
    (FAILED, "Not checked"),
)
COLUMNS = (("number", "No."), ("name", "File"), ("verdict", "Verdict"), ("probability", "AI probability"))
# Rows are a list, so that Gradio sends the new ones alone and not the whole table again.
TEMPLATE = '${value.head}<tbody>${value.rows.join("")}</tbody>${value.foot}'
FOOT = "</table></div>"
IDLE = (
    '<div class="card quiet"><h2>No photos checked yet</h2>'
    "<p>Choose up to {most} product photos and press <strong>Check photos</strong>. "
    "They are sent a few at a time; if you stop, finished results stay on the page.</p></div>"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One photo; `number` counts from 1 in the order in which the photos were chosen."""

    number: int
    name: str
    thumbnail: bytes | None
    verdict: Verdict | None = None
    reason: str = ""
    # Whether the photo itself is fine and may be sent again.
    again: bool = False

    @property
    def groups(self) -> tuple[str, ...]:
        """The filters that show this row."""
        if self.verdict is None:
            return (FAILED,)
        undecided = wording.look(self.verdict) == wording.UNDECIDED
        return (self.verdict.prediction, CLOSELY) if undecided else (self.verdict.prediction,)


def count(rows: Iterable[Row]) -> Counter[str]:
    """How many rows each filter shows."""
    return Counter(group for row in rows for group in row.groups)


def csv_of(rows: Iterable[Row]) -> bytes:
    """Write UTF-8 with the mark by which spreadsheets know it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(SHEET_COLUMNS)
    writer.writerows(map(_cells, rows))
    return text.getvalue().encode("utf-8-sig", "replace")


def _cells(row: Row) -> tuple[object, ...]:
    name, reason = _inert(row.name), _inert(row.reason)
    if row.verdict is None:
        return row.number, name, "", "", "", "", reason
    found = row.verdict
    return row.number, name, found.prediction, found.probability, found.confidence, found.model_version, reason


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


class Table(TypedDict):
    """What the template wants."""

    head: str
    rows: list[str]
    foot: str


NO_TABLE = Table(head="", rows=[], foot="")


def table_of(rows: Sequence[Row], *, ended: bool) -> Table:
    """Draw the rows; those of a batch that has ended can be downloaded."""
    download = _download(rows) if ended else ""
    return Table(head=_filters(rows) + download + _head(), rows=[row_html(row) for row in rows], foot=FOOT)


def row_html(row: Row) -> str:
    """Draw a row; the `data-` attributes are what the browser sorts and filters by."""
    probability = -1.0 if row.verdict is None else row.verdict.probability
    words = "Not checked" if row.verdict is None else wording.verdict(row.verdict)
    name = escape(row.name)
    return (
        f'<tr data-groups="{" ".join(row.groups)}" data-number="{row.number}" data-name="{name}" '
        f'data-verdict="{escape(words)}" data-probability="{probability}">'
        f'<td>{row.number}</td><th scope="row"><div class="file">{_thumbnail(row)}<span>{name}</span></div></th>'
        f"{_outcome(row, words)}</tr>"
    )


def _outcome(row: Row, words: str) -> str:
    if row.verdict is None:
        return f'<td class="failed"><strong>{words}</strong> <span>{escape(row.reason)}</span></td><td>none</td>'
    confidence, _ = wording.CONFIDENCES[row.verdict.confidence]
    return (
        f'<td class="{wording.look(row.verdict)}"><strong>{words}</strong> <span>{escape(confidence)}</span></td>'
        f"<td>{wording.percent(row.verdict.probability)}</td>"
    )


def _thumbnail(row: Row) -> str:
    if row.thumbnail is None:
        return '<span class="blank" aria-hidden="true"></span>'
    # The file's name stands beside it, so it needs no words of its own.
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(row.thumbnail).decode("ascii")}">'


def _filters(rows: Sequence[Row]) -> str:
    counts = {**count(rows), "all": len(rows)}
    choices = "".join(
        f'<label><input type="radio" name="shown" value="{value}"{" checked" if value == "all" else ""}>'
        f"<span>{name} ({counts.get(value, 0):,})</span></label>"
        for value, name in FILTERS
    )
    return f'<fieldset class="filters"><legend>Show</legend>{choices}</fieldset>'


def _download(rows: Iterable[Row]) -> str:
    # The file is inside the link: nothing of it is written on the server, and no request is needed.
    data = base64.b64encode(csv_of(rows)).decode("ascii")
    return (
        '<p class="download"><a download="photo-verdicts.csv" '
        f'href="data:text/csv;charset=utf-8;base64,{data}">Download as CSV</a></p>'
    )


def _head() -> str:
    cells = "".join(
        f'<th scope="col" aria-sort="{"ascending" if key == "number" else "none"}">'
        f'<button type="button" data-sort="{key}">{title}</button></th>'
        for key, title in COLUMNS
    )
    return (
        '<div class="scroll" role="region" aria-label="Verdicts, one row a photo" tabindex="0"><table class="verdicts">'
        f'<caption class="unseen">Verdicts, one row a photo; the buttons in the head sort</caption>'
        f"<thead><tr>{cells}</tr></thead>"
    )


def running_html(rows: Sequence[Row], total: int, note: str = "") -> str:
    """Show a running batch; `note` says what it waits for."""
    done = len(rows)
    return (
        '<div class="card progress"><p class="score"><span>Checking photos</span> '
        f"<strong>{done} of {total}</strong></p>"
        f'<progress max="{total}" value="{done}" aria-label="Photos checked"></progress>'
        f'<p class="facts">{escape(_summary(rows))}</p><p class="facts">{escape(note)}</p></div>'
    )


def done_html(rows: Sequence[Row], trouble: GatewayError | None = None) -> str:
    """Show a batch that has ended; `trouble` is why photos were left without an answer, and what helps."""
    left = sum(row.again for row in rows)
    title = f"{wording.photos(len(rows))} done" if not left else f"{wording.photos(left)} of {len(rows):,} left"
    advice = f"<p>{escape(_advice(left, trouble))}</p>" if left else ""
    return (
        f'<div class="card {"trouble" if left else "quiet"}"><h2>{title}</h2>{advice}'
        f'<p class="facts">{escape(_summary(rows))}</p></div>'
    )


def _advice(left: int, trouble: GatewayError | None) -> str:
    press = f"Press Check {wording.photos(left)} again."
    return f"{wording.sentence(trouble)} {wording.words(trouble).remedy} {press}" if trouble else press


def _summary(rows: Sequence[Row]) -> str:
    counts = count(rows)
    kinds = {
        "ai_generated": "likely AI-generated",
        "real": "likely real",
        CLOSELY: "to look at closely",
        FAILED: "not checked",
    }
    return " · ".join(f"{counts[kind]:,} {text}" for kind, text in kinds.items())
