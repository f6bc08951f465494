"""Reports on disk: JSON, CSV and text, never half-written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from handler.spec import ModelSpec
from training.atomic import write_bytes
from training.paths import Paths

DECIMALS = 6
"""Of figures in JSON: more than any of them is worth, and few enough to read."""


class MissingReportError(RuntimeError):
    """A stage needs what an earlier one writes; the message names both."""


def write_json(file: Path, report: Mapping[str, Any]) -> None:
    """Write a report as JSON, its floats rounded."""
    write_bytes(file, (json.dumps(rounded(report), indent=2, ensure_ascii=False) + "\n").encode())


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with a header line."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(file, text.getvalue().encode())


def require(file: Path, stage: str) -> None:
    """Make sure that a stage has written a file.

    Raises:
        MissingReportError: It has not.
    """
    if not file.is_file():
        raise MissingReportError(f"no {file}: run `python -m training.{stage}` first")


def read_json(file: Path, stage: str) -> dict[str, Any]:
    """Read the report of a stage.

    Raises:
        MissingReportError: The stage has not run.
    """
    require(file, stage)
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def read_optional_json(file: Path) -> dict[str, Any] | None:
    """Read a report that may be absent."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def read_spec(paths: Paths) -> ModelSpec:
    """Read the calibrated spec of a run.

    Raises:
        MissingReportError: The run has not been calibrated.
    """
    require(paths.spec, "calibrate")
    return ModelSpec.from_mapping(yaml.safe_load(paths.spec.read_text(encoding="utf-8")))


def rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Round every float within a JSON value."""
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return value
