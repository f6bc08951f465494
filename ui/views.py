"""What the tabs show, as HTML from `templates/`, which escapes all that comes from outside; and the table as CSV."""

import base64
import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from gateway.client import GatewayError, Verdict
from ui import wording

SHEET_COLUMNS = ("number", "file", "prediction", "probability", "confidence", "model_version", "error")
# A spreadsheet would take a text that begins with one of these for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Rows are a list, so that Gradio sends the new ones alone and not the whole table again.
TABLE = '${value.head}<tbody>${value.rows.join("")}</tbody>${value.foot}'
WELCOME = (
    '<div class="card quiet"><h2>No photo checked yet</h2>'
    "<p>Choose a product photo and press <strong>Check photo</strong>. "
    "You will see how likely it is AI-generated, and which regions of the photo drove the verdict.</p></div>"
)
IDLE = (
    '<div class="card quiet"><h2>No photos checked yet</h2>'
    "<p>Choose up to {most:,} product photos and press <strong>Check photos</strong>. "
    "They are sent a few at a time; if you stop, finished results stay on the page.</p></div>"
)


def _data_uri(content: bytes, kind: str = "image/jpeg") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("ui"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_templates.globals["wording"] = wording
_templates.filters["data_uri"] = _data_uri


def html(template: str, **values: object) -> str:
    """Fill in a template; its first line says with what."""
    return _templates.get_template(f"{template}.html").render(values)


def error(found: GatewayError, advice: str = "") -> str:
    """Show an error, with other advice than its own where some is given."""
    return html("error", error=found, advice=advice)


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
            return ("failed",)
        undecided = wording.look(self.verdict) == wording.UNDECIDED
        return (self.verdict.prediction, "closely") if undecided else (self.verdict.prediction,)


NO_TABLE = {"head": "", "rows": [], "foot": ""}


def table_of(rows: Sequence[Row], *, ended: bool) -> dict[str, Any]:
    """Draw the rows, as `TABLE` wants them; those of a batch that has ended can be downloaded."""
    head = html("table", counts=_count(rows), sheet=csv_of(rows) if ended else None)
    return {"head": head, "rows": [html("row", row=row) for row in rows], "foot": "</table></div>"}


def progress(
    rows: Sequence[Row], *, total: int, ended: bool, note: str = "", trouble: GatewayError | None = None
) -> str:
    """Show how far a batch has come: what it waits for, or why photos were left without an answer, and what helps."""
    values = {"done": len(rows), "left": sum(row.again for row in rows), "counts": _count(rows)}
    return html("progress", **values, total=total, ended=ended, note=note, trouble=trouble)


def _count(rows: Iterable[Row]) -> Counter[str]:
    return Counter(group for row in rows for group in (*row.groups, "all"))


def csv_of(rows: Iterable[Row]) -> bytes:
    """Write UTF-8 with the mark by which spreadsheets know it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(SHEET_COLUMNS)
    for row in rows:
        found = row.verdict
        fields = (found.prediction, found.probability, found.confidence, found.model_version) if found else [""] * 4
        writer.writerow([row.number, _inert(row.name), *fields, _inert(row.reason)])
    return text.getvalue().encode("utf-8-sig", "replace")


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
