from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.training.pictures import REAL, overlapping, photo, scored
from training.evaluation import plots
from training.evaluation.plots import dots, robustness_bars

ROW: dict[str, Any] = {"n": 5, "auroc": 0.7, "auroc_ci95": [0.6, 0.8], "flagged": 0.0, "flagged_ci95": [0.0, 0.3]}
DRAW: dict[str, Callable[[Path], None]] = {
    "roc": lambda file: plots.roc({"dev": overlapping(20), "test": overlapping(30)}, file),
    "precision_recall": lambda file: plots.precision_recall({"dev": overlapping(20)}, file),
    "confusion": lambda file: plots.confusion("dev", overlapping(20), file),
    "scores": lambda file: plots.score_histogram("dev", overlapping(20), file),
    "reliability": lambda file: plots.reliability({"before": overlapping(20)}, file),
    "robustness": lambda file: robustness_bars(
        {"dev": {"clean": ROW, "jpeg50": ROW}, "test": {"clean": ROW, "jpeg50": ROW}}, file
    ),
    "auroc": lambda file: dots([("test: real/a", ROW), ("test: ai_generated/b", ROW)], "auroc", "By source", file),
    "flagged": lambda file: dots([("test: real/a", ROW)], "flagged", "By source", file),
}


@pytest.mark.parametrize("name", DRAW)
def test_a_plot_is_a_png_that_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    for file in ("a.png", "b.png"):
        DRAW[name](tmp_path / file)
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert len(image.convert("L").getcolors() or []) > 10
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_photos_of_one_class_have_a_histogram(tmp_path: Path) -> None:
    plots.score_histogram("dev", scored([photo(REAL)], [0.3]), tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()


def test_without_rows_nothing_is_drawn(tmp_path: Path) -> None:
    dots([("test: real/a", {"n": 1, "flagged": 0.0, "flagged_ci95": [0, 1]})], "auroc", "None", tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
