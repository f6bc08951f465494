"""A folder of results: the list, what it was scored by, and a Parquet file for each shard that is done."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet

from handler.decision import Verdict
from training.atomic import write_bytes
from training.scoring.listing import PATH, RESULTS, write_list

PART: Final = re.compile(r"part-\d{5,}\.parquet")


class OtherJobError(RuntimeError):
    """The folder holds results that do not belong to this list and model."""


@dataclass(frozen=True)
class Terms:
    """What all shards of a folder have in common.

    Attributes:
        pictures_in: Folder that relative paths begin at.
        shard_size: Images in a shard.
        precision: Lightning's name of the numbers that the network calculates in.
        model_version: The model's own.
        model_sha256: Of its weights and spec.
    """

    pictures_in: str
    shard_size: int
    precision: str
    model_version: str
    model_sha256: str


class Results:
    """Shards of a list in a folder; a shard whose file is there is done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.list = folder / "_job" / "list.parquet"  # readers of Parquet folders pass over names with an underscore
        self.description = folder / "_job" / "job.json"

    def prepare(self, source: Path, terms: Terms, *, restart: bool = False) -> None:
        """List the source, and check that results that are there are of the same list and terms, or remove them.

        Raises:
            InvalidListError: The source cannot be used.
            OtherJobError: The folder holds something else.
        """
        self.list.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.list.with_suffix(".part")
        try:
            job = {"list_sha256": write_list(source, fresh, terms.shard_size)} | asdict(terms)
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
        rows = [_row(one) | {"model_version": model_version} for one in found]
        results = pa.Table.from_pylist(rows, RESULTS)
        table = pa.table({PATH: listed.column(PATH)} | _columns(results) | _columns(listed.drop_columns([PATH])))
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
                raise OtherJobError(f"{self.folder} holds results of an unknown job")
            return
        found = json.loads(self.description.read_bytes())
        other = [name for name, value in job.items() if found.get(name) != value]
        if other:
            raise OtherJobError(f"{self.folder} holds results of a different job; differs in {', '.join(other)}")


def _columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(table.column_names, table.columns, strict=True))


def _row(found: Verdict | str) -> dict[str, Any]:
    return {"error": found} if isinstance(found, str) else asdict(found)
