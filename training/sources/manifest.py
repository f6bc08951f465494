"""Manifests as files, written for the stages to read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from training.atomic import write_bytes
from training.data import COLUMNS, Photo


def write(file: Path, photos: Iterable[Photo]) -> None:
    """Write the photos' rows, sorted by path, in one step."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(photo) for photo in sorted(photos, key=lambda photo: photo.path))
    write_bytes(file, text.getvalue().encode())
