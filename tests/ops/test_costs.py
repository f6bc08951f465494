"""The table of `docs/COSTS.md` is the formula's, with the figures that `docs/benchmarks.md` states."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from docs.tools.costs import BENCHMARKS, ROWS, Rate, example, measured, per_million, table
from tests.ops.commands import documented

PAGE = Path("docs/COSTS.md").read_text(encoding="utf-8")
FIGURES = """
| | clients | requests/s | p50, ms |
|---|---|---|---|
| plain | 32 | 99.0 ± 1 | 1 |
| through the gateway | 1 | 10.0 ± 0.1 | 1 |
| | 8 | 33 | 1 |
| | 32 | 1,020.5 ± 0.4 | 1 |
| explain | 1 | 5 | 1 |
| explain | 8 | 6.5 ± 0.9 | 1 |
| batch of 10 | 1 | 2.5 ± 0.07 | 1 |

| through the gateway | 32 | 7 |
"""


def test_a_million_pictures_take_a_million_over_the_rate_in_seconds() -> None:
    assert per_million(3600, 1, 1) == 1_000_000
    assert per_million(0.10, 28.5, 0.6) == pytest.approx(0.10 * 1_000_000 / (28.5 * 0.6) / 3600)


def test_rates_are_those_of_the_first_table_and_a_batch_is_ten_pictures() -> None:
    assert measured(FIGURES) == [
        Rate("predictions, 32 clients", 1020.5),
        Rate("predictions, one client", 10),
        Rate("explanations, 8 clients", 6.5),
        Rate("batches of ten, one client", 25),
    ]


def test_a_benchmark_without_a_row_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"no row 'explain' with 8 clients, 'batch of 10' with 1 clients"):
        measured(FIGURES[: FIGURES.index("| explain")])


def test_the_table_has_a_column_a_price() -> None:
    assert table([Rate("so", 10)], (1, 0.25), 0.5) == (
        "| asked by | pictures/s | machine hours a million | at 1 an hour | at 0.25 an hour |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| so | 10.0 | 55.6 | 55.56 | 13.89 |"
    )


def test_the_page_shows_the_table_of_what_was_measured() -> None:
    """`make docs` brings it up to date."""
    assert example() in PAGE
    assert len(measured(BENCHMARKS.read_text(encoding="utf-8"))) == len(ROWS)


def test_the_pages_commands_print_what_the_formula_gives() -> None:
    first, second = [shlex.split(command) for command in documented(PAGE) if "docs.tools.costs" in command]
    assert _printed(first) == table(measured(BENCHMARKS.read_text(encoding="utf-8")), (0.085,), 0.4)
    assert _printed(second) == table([Rate("as you measured", 26.8)], (0.085,), 0.6)


def test_a_share_above_one_is_refused() -> None:
    command = [sys.executable, "-m", "docs.tools.costs", "--price", "1", "--utilisation", "60"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "python -m docs.tools.costs: error: --utilisation is a share of 1",
    )


def _printed(command: list[str]) -> str:
    assert command[0] == ".venv/bin/python"
    return subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, check=True).stdout.rstrip()
