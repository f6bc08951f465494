from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.pictures import row
from training import manifest
from training.data import InvalidDataError


def test_what_is_written_is_read(tmp_path: Path) -> None:
    photos = [row("b.jpg", "real", group='a, "b"'), row("a.jpg", "ai_generated", source="größe")]
    manifest.write(tmp_path / "new" / "manifest.csv", photos)
    rows = manifest.read_rows(tmp_path / "new" / "manifest.csv")
    assert [(r["path"], r["source"], r["group"]) for r in rows] == [
        ("a.jpg", "größe", "a.jpg"),
        ("b.jpg", "a", 'a, "b"'),
    ]
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["manifest.csv"]


def test_columns_and_cells_that_are_not_required_read_as_empty(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_bytes("\ufeffpath,label,note\n a.jpg ,real,nice\nb.jpg\n".encode())
    rows = manifest.read_rows(file, required=("path", "label"))
    assert [(r["path"], r["label"], r["split"]) for r in rows] == [("a.jpg", "real", ""), ("b.jpg", "", "")]


def test_an_absent_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError) as refused:
        manifest.read_rows(tmp_path / "m.csv")
    assert str(refused.value) == (
        f"no manifest at {tmp_path}/m.csv: run the stage download, or name your data with data.source"
    )


def test_missing_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label,split,source,group,licence\n", encoding="utf-8")
    with pytest.raises(InvalidDataError, match=r"m\.csv: no column domain, generator$"):
        manifest.read_rows(tmp_path / "m.csv")


def test_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("path,label\ngröße.jpg,real\n".encode("latin-1"))
    with pytest.raises(InvalidDataError, match=r"m\.csv is not UTF-8: save it as CSV UTF-8$"):
        manifest.read_rows(tmp_path / "m.csv", required=())
