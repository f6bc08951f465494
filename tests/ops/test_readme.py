"""README is short, shows each reader the way at once, and says of the model what its card says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = Path("README.md").read_text(encoding="utf-8")
CARD = " ".join(Path("model_store/MODEL_CARD.md").read_text(encoding="utf-8").split())
FIRST_SCREEN = "\n".join(TEXT.splitlines()[:16])
TABLE = "\n".join(line for line in TEXT.splitlines() if line.startswith(("| `dev`", "| `test`")))


@pytest.mark.parametrize(
    ("reader", "page"),
    [
        ("review", "docs/page.md"),
        ("integrate", "docs/api.md"),
        ("integrate", "docs/client.md"),
        ("operate", "docs/configuration.md"),
        ("operate", "docs/INCIDENT_SCENARIO.md"),
    ],
)
def test_each_reader_finds_the_way_on_the_first_screen(reader: str, page: str) -> None:
    [row] = [line for line in FIRST_SCREEN.splitlines() if line.startswith(f"| **{reader}**")]
    assert f"]({page})" in row


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 220


def test_the_models_figures_are_those_of_its_card() -> None:
    figures = re.findall(r"0\.\d{3}\D{0,3} \(0\.\d{3} to 0\.\d{3}\)", TABLE)
    assert len(figures) == 2
    assert [figure for figure in figures if figure.replace("*", "") not in CARD] == []
    shares = re.findall(r"(\d+\.\d) %, (\d+\.\d) %", TABLE)
    assert len(shares) == 4
    assert [share for pair in shares for share in pair if f"{share}%" not in CARD] == []


def test_base_rate_and_operating_point_are_those_of_its_card() -> None:
    [base_rate] = re.findall(r"base rate \((0\.\d{4})\)", TEXT)
    [point] = re.findall(r"`(\w+)`, ships", TEXT)
    assert f"The base rate is {base_rate} (operating point `{point}`)" in CARD


def test_the_pictures_that_it_shows_exist() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert len(shown) >= 3
    assert [picture for picture in shown if not Path(picture).is_file()] == []
