from __future__ import annotations

from pathlib import Path

from tests.training.pictures import row
from training.data import manifest
from training.data.manifest import read_rows


def test_what_is_written_is_read(tmp_path: Path) -> None:
    photos = [row("b.jpg", "real", group='a, "b"'), row("a.jpg", "ai_generated", source="größe")]
    manifest.write_manifest(tmp_path / "new" / "manifest.csv", photos)
    rows = read_rows(tmp_path / "new" / "manifest.csv")
    assert [(r["path"], r["source"], r["group"]) for r in rows] == [
        ("a.jpg", "größe", "a.jpg"),
        ("b.jpg", "a", 'a, "b"'),
    ]
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["manifest.csv"]
