"""A batch's verdicts as CSV, one row a photo, those without a verdict included."""

import csv
import io
from collections.abc import Iterable

from ui.rows import Row

COLUMNS = ("number", "file", "prediction", "probability", "confidence", "model_version", "error")
# A spreadsheet would take a text that begins with one of these for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_of(rows: Iterable[Row]) -> bytes:
    """Write UTF-8 with the mark by which spreadsheets know it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
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
