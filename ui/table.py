"""The batch's table: rows as HTML, and the frame around them with its filters; the browser sorts and filters."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import TypedDict

from ui import wording
from ui.rows import CLOSELY, FAILED, Row, count
from ui.sheet import csv_of

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
