"""The picture of the architecture is what its source gives, and names what there is."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import pytest
from defusedxml import ElementTree

from docs.tools.diagram import LINE_PX, TITLE_PX, Arrow, Box, draw, read, text_width

SOURCE = read(Path("docs/architecture.yaml"))
SVG = Path("docs/architecture.svg").read_text(encoding="utf-8")
TOOLS = {"benchmarks", "cli", "stack"}
"""Packages that start, ask or measure the system and are no part of it."""


def test_the_committed_picture_is_what_the_source_gives() -> None:
    """`make docs` brings it up to date."""
    assert draw(SOURCE) == SVG


def test_every_package_is_drawn_and_every_folder_that_is_drawn_exists() -> None:
    drawn = {box.package for box in SOURCE.boxes.values() if box.package}
    assert [package for package in drawn if not Path(package).is_dir()] == []
    packages = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert set(packages["root_packages"]) - TOOLS <= drawn


def test_it_is_sound_svg_with_a_title_that_asks_nobody_for_anything() -> None:
    root = ElementTree.fromstring(SVG)
    [title] = root.iter("{http://www.w3.org/2000/svg}title")
    assert title.text == SOURCE.title
    assert "http" not in SVG.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "@media (prefers-color-scheme: dark)" in SVG


@pytest.mark.parametrize("name", SOURCE.boxes)
def test_a_text_fits_into_its_box(name: str) -> None:
    box = SOURCE.boxes[name]
    widths = [text_width(box.heading, TITLE_PX), *(text_width(line, LINE_PX) for line in box.lines)]
    assert max(widths) <= box.width
    assert TITLE_PX + 8 + len(box.lines) * (LINE_PX + 4) <= box.height


@pytest.mark.parametrize("pair", list(itertools.combinations(SOURCE.boxes, 2)))
def test_no_box_covers_another(pair: tuple[str, str]) -> None:
    one, other = (SOURCE.boxes[name] for name in pair)
    assert (
        one.left + one.width < other.left
        or other.left + other.width < one.left
        or one.top + one.height < other.top
        or other.top + other.height < one.top
    )


@pytest.mark.parametrize("arrow", SOURCE.arrows, ids=lambda arrow: arrow.label or "plain")
def test_no_arrow_runs_through_a_box(arrow: Arrow) -> None:
    for (x, y), (to_x, to_y) in itertools.pairwise(arrow.ways):
        points = [(x + (to_x - x) * share / 50, y + (to_y - y) * share / 50) for share in range(1, 50)]
        assert [box.title for box in SOURCE.boxes.values() for point in points if _inside(box, point)] == []


def _inside(box: Box, point: tuple[float, float]) -> bool:
    x, y = point
    return box.left < x < box.left + box.width and box.top < y < box.top + box.height
