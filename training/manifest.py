"""Manifests as files: read leniently what people bring, write what the stages read."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path

from training.data import COLUMNS, InvalidDataError, Photo
from training.reports import write_bytes


def read_rows(file: Path, required: Collection[str] = COLUMNS) -> list[dict[str, str]]:
    """Return a CSV's rows as they are, each with every column of ours; a column or cell that is absent reads as "".

    Raises:
        InvalidDataError: No such file, a required column that it lacks, or text that is not UTF-8.
    """
    if not file.is_file():
        raise InvalidDataError(f"no manifest at {file}: run the stage download, or name your data with data.source")
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:  # spreadsheets begin with a byte order mark
            reader = csv.DictReader(lines)
            missing = set(required) - set(reader.fieldnames or ())
            if missing:
                raise InvalidDataError(f"{file}: no column {', '.join(sorted(missing))}")
            return [{column: (row.get(column) or "").strip() for column in COLUMNS} for row in reader]
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{file} is not UTF-8: save it as CSV UTF-8") from error


def write(file: Path, photos: Iterable[Photo]) -> None:
    """Write the photos' rows, sorted by path, in one step."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(photo) for photo in sorted(photos, key=lambda photo: photo.path))
    write_bytes(file, text.getvalue().encode())
