from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.score import ScoreError, copy, score, verdict


def test_a_catalogue_is_one_photo_under_many_names(tmp_path: Path) -> None:
    copy(b"photo", 3, tmp_path / "photos")
    found = {file.name: file.read_bytes() for file in (tmp_path / "photos").iterdir()}
    assert found == dict.fromkeys(["0.jpg", "1.jpg", "2.jpg"], b"photo")


def test_the_goal_is_nine_tenths_of_the_ceiling_in_the_same_round() -> None:
    assert verdict([45.0, 95.0], [50.0, 100.0], "2 x 1 threads, batches of 4") == (
        "scoring 70.00 ± 35.36 pictures/s, in-process ceiling 75.00 ± 35.36 (2 x 1 threads, batches of 4): "
        "0.93 ± 0.04 of it, n = 2 rounds, mean ± sd. At least 0.9: met"
    )
    assert verdict([40.0], [50.0], "").endswith("At least 0.9: missed")


def test_scoring_that_fails_is_no_figure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ScoreError, match=r"^training\.score ended with 1$"):
        score(tmp_path, tmp_path / "out", ["--archive", str(tmp_path / "none.mar")])
    assert "none.mar is not an archive that this code can use" in capfd.readouterr().err
