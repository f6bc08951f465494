import os
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from training.files import Paths, StageError, read_json, read_optional_json, read_spec, write_csv, write_json


def test_a_report_is_rounded_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    file = tmp_path / "reports" / "a.json"
    write_json(file, {"a": {"b": 0.123456789}, "c": [1, (0.1 + 0.2,)], "d": None, "e": "é", "f": np.float64(1e-9)})
    assert file.read_text(encoding="utf-8") == (
        '{\n  "a": {\n    "b": 0.123457\n  },\n  "c": [\n    1,\n    [\n      0.3\n    ]\n  ],\n  "d": null,\n'
        '  "e": "é",\n  "f": 0.0\n}\n'
    )
    assert list(file.parent.iterdir()) == [file]


def test_what_cannot_be_finished_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError("disk full")

    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_json(tmp_path / "a.json", {"a": 2})
    assert read_json(tmp_path / "a.json", "evaluate") == {"a": 1}


def test_a_missing_report_names_its_stage(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"no .*/metrics\.json: run `python -m training\.evaluate` first$"):
        read_json(tmp_path / "metrics.json", "evaluate")
    with pytest.raises(StageError, match=r"spec\.yaml: run `python -m training\.calibrate` first$"):
        read_spec(Paths(tmp_path))


def test_a_missing_optional_report_is_nothing(tmp_path: Path) -> None:
    assert read_optional_json(tmp_path / "a.json") is None


def test_a_table_is_csv(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ("x", "y"), [(1, "a, b"), (0.5, "c")])
    assert (tmp_path / "a.csv").read_bytes() == b'x,y\n1,"a, b"\n0.5,c\n'
