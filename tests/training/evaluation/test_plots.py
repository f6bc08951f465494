from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from tests.training.pictures import AI, REAL, overlapping, photo, scored
from training.evaluation import plots
from training.evaluation.plots import dots
from training.evaluation.robustness import Matrix

ROW: dict[str, Any] = {"n": 5, "auroc": 0.7, "auroc_ci95": [0.6, 0.8], "flagged": 0.0, "flagged_ci95": [0.0, 0.3]}
LOWER = ROW | {"auroc": 0.5, "auroc_ci95": [0.4, 0.6]}
ROWS = {"real/a": ROW, "real/b": LOWER}


def test_plots_are_pngs_that_are_the_same_each_time(tmp_path: Path) -> None:
    matrices: dict[str, Matrix] = {"dev": {"clean": ROW, "jpeg50": ROW}, "test": {"clean": ROW, "jpeg50": ROW}}
    for folder in (tmp_path / "a", tmp_path / "b"):
        plots.draw_scores({"dev": overlapping(20)}, folder)
        plots.draw_tables({"test": {"by_source": ROWS, "by_generator": {}}}, matrices, folder)
        plots.score_histogram("dev", scored([photo(REAL)], [0.3]), folder / "one_class.png")
    names = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert len(names) == 9
    for name in names:
        with Image.open(tmp_path / "a" / name) as image:
            assert image.format == "PNG"
            assert len(image.convert("L").getcolors() or []) > 10
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    found: list[Axes] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: found.extend(figure.axes))
    return found


def test_the_scores_are_where_they_belong(drawn: list[Axes], tmp_path: Path) -> None:
    predicted = scored([photo(REAL)] * 4 + [photo(AI)] * 2, [0.12, 0.22, 0.32, 0.62, 0.42, 0.82])
    plots.draw_scores({"dev": predicted}, tmp_path)
    roc, recall, reliability, confusion, scores = drawn
    assert [np.asarray(line.get_xydata()).tolist() for line in roc.lines] == [
        [[0, 0], [0, 0.5], [0.25, 0.5], [0.25, 1], [0.5, 1], [0.75, 1], [1, 1]],
        *([[0.01, 0.5]], [[0.05, 0.5]], [[0, 0], [1, 1]]),
    ]
    assert [np.asarray(line.get_ydata()).tolist()[-1] for line in recall.lines] == pytest.approx([1 / 3, 1 / 3])
    assert (*roc.get_xlim(), *roc.get_ylim()) == (*recall.get_xlim(), *recall.get_ylim()) == (-0.01, 1.01) * 2
    points = [[0.12, 0], [0.22, 0], [0.32, 0], [0.42, 1], [0.62, 0], [0.82, 1]]
    assert np.asarray(reliability.collections[0].get_offsets()) == pytest.approx(np.array(points))
    assert [text.get_text() for text in confusion.texts] == ["3\n75.0%", "1\n25.0%", "1\n50.0%", "1\n50.0%"]
    bars = [cast("Rectangle", bar) for bar in scores.patches]
    assert [(round(bar.get_x(), 2), bar.get_height()) for bar in bars if bar.get_height()] == [
        *((0.1, 0.25), (0.2, 0.25), (0.3, 0.25), (0.6, 0.25), (0.4, 0.5), (0.8, 0.5))
    ]


def test_figures_and_their_intervals_are_where_they_belong(drawn: list[Axes], tmp_path: Path) -> None:
    plots.robustness_bars({"dev": ROWS, "test": ROWS}, tmp_path / "a.png")
    dots([("test: real/a", ROW), ("test: real/b", LOWER)], "auroc", "By source", tmp_path / "b.png")
    bars, lines = drawn
    shapes = [cast("Rectangle", bar) for bar in bars.patches]
    places = [(bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in shapes]
    assert places == [pytest.approx(place) for place in ((0.7, -0.2), (0.5, 0.8), (0.7, 0.2), (0.5, 1.2))]
    assert bars.get_xlim() == (0.38, 1)
    spans = [span for each in lines.collections for span in cast("LineCollection", each).get_segments()]
    assert np.asarray(spans) == pytest.approx(np.array([[[0.6, 0], [0.8, 0]], [[0.4, 1], [0.6, 1]]]))
    assert (lines.get_xlim(), lines.get_ylim()) == ((-0.02, 1.02), (1.6, -0.6))


def test_without_rows_nothing_is_drawn(tmp_path: Path) -> None:
    dots([("test: real/a", {"n": 1, "flagged": 0.0, "flagged_ci95": [0, 1]})], "auroc", "None", tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
