"""A folder of results: the list, what it was scored by, and a Parquet file for each shard that is done."""

import codecs
import hashlib
import itertools
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from errno import EINVAL
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa  # type: ignore[import-untyped]
from PIL import Image
from pyarrow import csv, parquet

from handler.images import FORMATS, BadImageError, decode
from handler.spec import ModelSpec, Verdict
from handler.transforms import Pixels, to_pixels
from training.files import StageError, write_bytes

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"})
UNREADABLE: Final = "unreadable_file"
"""The code of a file that is not there or cannot be read; all others are those of the service."""
SIGNATURE_BYTES: Final = 16
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
REMEDY: Final = "; choose another folder, or use --restart to delete its results"
PART: Final = re.compile(r"part-\d{5,}\.parquet")


def is_picture(file: Path) -> bool:
    """Decide by the name, else by the first bytes; a broken image with the right name counts, to be reported."""
    if file.suffix.lower() in SUFFIXES:
        return True
    try:
        with _opened(file) as opened:
            return _begins_as_picture(opened.read(SIGNATURE_BYTES))
    except OSError:
        return False


def read_pixels(file: Path, spec: ModelSpec) -> Pixels | str:
    """Return what the network sees of a file, as serving has it, or the code of why it cannot be decoded."""
    try:
        return to_pixels(decode(_read(file)), spec)
    except BadImageError as error:
        return error.code
    except (OSError, ValueError):  # a name with a null byte is a ValueError
        return UNREADABLE


def _read(file: Path) -> bytes:
    with _opened(file) as opened:
        head = opened.read(SIGNATURE_BYTES)
        return head + opened.read() if _begins_as_picture(head) else head  # a film need not be read to be refused


def _opened(file: Path) -> BinaryIO:
    """Open a file; a pipe or a device has no end, and opening one may take for ever."""
    opened = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError(EINVAL, "not a regular file", str(file))
    return opened


def _begins_as_picture(head: bytes) -> bool:
    Image.init()
    accepts = (Image.OPEN[name][1] for name in FORMATS)
    return any(accept is not None and accept(head) for accept in accepts)


def write_list(source: Path, target: Path, shard_size: int) -> str:
    """Write the list of a source's images, in the source's order, and return the SHA-256 of what was written.

    A folder lists the images below it, sorted. A CSV or Parquet file has a column `path`; its others are kept as they
    are, those of a CSV as text.

    Raises:
        StageError: No such source, or one that is empty, unreadable or lacks the column.
    """
    try:
        _write(_regrouped(_tables(source), shard_size), target)
    except (OSError, UnicodeError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        form = "; save a CSV as UTF-8 or UTF-16" if source.suffix.lower() == ".csv" else ""
        raise StageError(f"{source} cannot be read as a list of images: {said}{form}") from error
    if not target.is_file():
        raise StageError(f"{source} lists no image")
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        raise StageError(f"{source} is neither a folder nor a .csv or .parquet file")
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
        raise StageError(f"one column must be named {PATH}; found {found}")
    taken = sorted(set(names) & set(RESULTS.names))
    if taken:
        raise StageError(f"the list's columns {', '.join(taken)} collide with those that scoring adds: rename them")
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


class Results:
    """Shards of a list in a folder; a shard whose file is there is done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.list = folder / "_job" / "list.parquet"  # readers of Parquet folders pass over names with an underscore
        self.description = folder / "_job" / "job.json"

    def prepare(self, source: Path, shard_size: int, terms: Mapping[str, str], *, restart: bool = False) -> None:
        """List the source, and check that results that are there are of the same list and terms, or remove them.

        Raises:
            StageError: The source cannot be used, or the folder holds something else.
        """
        self.list.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.list.with_suffix(".part")
        try:
            digest = write_list(source, fresh, shard_size)
            job = {"list_sha256": digest, "shard_size": shard_size, **terms}
            if restart:
                self._clear()
            self._check(job)
            fresh.replace(self.list)
        finally:
            fresh.unlink(missing_ok=True)
        write_bytes(self.description, (json.dumps(job, indent=2) + "\n").encode())

    def part(self, shard: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"part-{shard:05d}.parquet"

    def sizes(self) -> list[int]:
        """Return how many images each shard has."""
        listed = parquet.read_metadata(self.list)
        return [listed.row_group(shard).num_rows for shard in range(listed.num_row_groups)]

    def is_done(self, shard: int, size: int) -> bool:
        """Return whether a shard's file is there and whole."""
        try:
            return bool(parquet.read_metadata(self.part(shard)).num_rows == size)
        except (OSError, pa.ArrowException):
            return False

    def paths(self, shard: int) -> list[str | None]:
        """Return the paths of a shard's images, as the source has them."""
        with parquet.ParquetFile(self.list) as listed:
            paths: list[str | None] = listed.read_row_group(shard, [PATH], use_threads=False).column(PATH).to_pylist()
        return paths

    def write(self, shard: int, found: Sequence[Verdict | str], model_version: str) -> None:
        """Write a shard: a verdict, or the code of why there is none, for each of its images."""
        with parquet.ParquetFile(self.list) as opened:
            listed = opened.read_row_group(shard)
        rows = [{"error": one} if isinstance(one, str) else asdict(one) for one in found]
        table = pa.Table.from_pylist([row | {"model_version": model_version} for row in rows], RESULTS)
        table = table.add_column(0, PATH, listed.column(PATH))
        for name in listed.column_names:
            if name != PATH:
                table = table.append_column(name, listed.column(name))
        buffer = pa.BufferOutputStream()
        parquet.write_table(table, buffer, compression="zstd")
        write_bytes(self.part(shard), buffer.getvalue().to_pybytes())

    def _clear(self) -> None:
        for file in (*self._parts(), self.description, self.list):  # what else the folder holds is not ours
            file.unlink(missing_ok=True)

    def _parts(self) -> list[Path]:
        return sorted(file for file in self.folder.glob("part-*.parquet") if PART.fullmatch(file.name))

    def _check(self, job: dict[str, Any]) -> None:
        if not self.description.is_file():
            if self._parts():
                raise StageError(f"{self.folder} holds results of an unknown job{REMEDY}")
            return
        found = json.loads(self.description.read_bytes())
        other = [name for name, value in job.items() if found.get(name) != value]
        if other:
            raise StageError(f"{self.folder} holds results of a different job; differs in {', '.join(other)}{REMEDY}")
