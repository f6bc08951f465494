"""What is to be scored, from a folder, a CSV or a Parquet file: one Parquet file with a row group a shard."""

from __future__ import annotations

import codecs
import hashlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from errno import EINVAL
from pathlib import Path
from typing import Final

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import csv, parquet

from training.scoring.pictures import is_picture

PATH: Final = "path"
RESULTS: Final = pa.schema(
    {
        "prediction": pa.string(),
        "probability": pa.float64(),
        "confidence": pa.string(),
        "model_version": pa.string(),
        "error": pa.string(),
    }
)
"""The columns that scoring adds."""
HEAD_BYTES: Final = 65_536
BLOCK: Final = 10_000
"""Rows that are read at a time, so that no list need fit into memory."""


class InvalidListError(ValueError):
    """A list of images that cannot be used; the message says why."""


def write_list(source: Path, target: Path, shard_size: int) -> str:
    """Write the list of a source's images, in the source's order, and return the SHA-256 of what was written.

    A folder lists the images below it, sorted. A CSV or Parquet file has a column `path`; its others are kept as they
    are, those of a CSV as text.

    Raises:
        InvalidListError: No such source, or one that is empty, unreadable or lacks the column.
    """
    try:
        _write(_regrouped(_tables(source), shard_size), target)
    except (OSError, UnicodeError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        form = "; save a CSV as UTF-8 or UTF-16" if source.suffix.lower() == ".csv" else ""
        raise InvalidListError(f"{source} cannot be read as a list of images: {said}{form}") from error
    if not target.is_file():
        raise InvalidListError(f"{source} lists no image")
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_of(source: Path) -> Path:
    """Return the folder that a source's relative paths begin at: itself, or the one that the list is in."""
    return source if source.is_dir() else source.parent


def _write(tables: Iterable[pa.Table], target: Path) -> None:
    target.unlink(missing_ok=True)
    writer: parquet.ParquetWriter | None = None
    try:
        for table in tables:
            writer = writer or parquet.ParquetWriter(target, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=table.num_rows)
    finally:
        if writer is not None:
            writer.close()


def _tables(source: Path) -> Iterator[pa.Table]:
    if source.is_dir():
        return _from_folder(source)
    readers = {".csv": _from_csv, ".parquet": _from_parquet}
    if source.suffix.lower() not in readers or not source.is_file():
        raise InvalidListError(f"{source} is neither a folder nor a .csv or .parquet file")
    return map(_checked, readers[source.suffix.lower()](source))


def _from_folder(folder: Path) -> Iterator[pa.Table]:
    paths = _walk(folder)
    while block := list(itertools.islice(paths, BLOCK)):
        yield pa.table({PATH: pa.array(block, pa.string())})


def _walk(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder, onerror=_leave_out):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            file = Path(parent, name)
            if os.access(file, os.F_OK) and not file.is_file():
                _leave_out(OSError(EINVAL, "neither a file nor a folder", str(file)))
            elif is_picture(file):
                yield _as_text(file.relative_to(folder).as_posix())


def _leave_out(error: OSError) -> None:
    print(f"score: skipped {_as_text(str(error.filename))}: {error.strerror}", file=sys.stderr)


def _as_text(path: str) -> str:
    """Return a name that is not UTF-8 escaped: its row then says that there is no such file, and the run goes on."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _from_csv(file: Path) -> Iterator[pa.Table]:
    encoding, delimiter = _form(file)
    reading = csv.ReadOptions(encoding=encoding)
    parsing = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with csv.open_csv(file, reading, parsing) as reader:
        as_text = dict.fromkeys(reader.schema.names, pa.string())  # or an article number loses its leading zeros
    with csv.open_csv(file, reading, parsing, csv.ConvertOptions(column_types=as_text)) as reader:
        yield from (pa.Table.from_batches([batch]) for batch in reader)


def _form(file: Path) -> tuple[str, str]:
    """Return the encoding and the delimiter, as far as the first line tells: spreadsheets write several kinds."""
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    header = head.decode(encoding, errors="replace").partition("\n")[0]
    return encoding, next((one for one in ",;\t" if one in header), ",")


def _from_parquet(file: Path) -> Iterator[pa.Table]:
    with parquet.ParquetFile(file) as opened:
        yield from (pa.Table.from_batches([batch]) for batch in opened.iter_batches(BLOCK))


def _checked(table: pa.Table) -> pa.Table:
    names = table.column_names
    if names.count(PATH) != 1:
        found = ", ".join(ascii(name)[1:-1] for name in names)
        raise InvalidListError(f"one column must be named {PATH}; found {found}")
    taken = sorted(set(names) & set(RESULTS.names))
    if taken:
        raise InvalidListError(
            f"the list's columns {', '.join(taken)} collide with those that scoring adds: rename them"
        )
    paths = table.column(PATH).cast(pa.string())
    return table.set_column(names.index(PATH), PATH, paths)


def _regrouped(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    held: pa.Table | None = None
    for table in tables:
        held = table if held is None else pa.concat_tables([held, table])
        while held.num_rows >= size:
            yield held.slice(0, size).combine_chunks()
            held = held.slice(size)
    if held is not None and held.num_rows:
        yield held.combine_chunks()
