"""The arithmetic, the table, the JSON and the plot of the benchmark of the whole stack, on a made-up measurement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from benchmarks.figures import CLIENTS, GATEWAY, MOST, PLAIN, PREDICT, ROWS, SMALL, TORCHSERVE, Burst, Row
from benchmarks.plot import draw
from benchmarks.report import Spread
from benchmarks.serving import WIDTH
from benchmarks.tables import COLUMNS, table
from tests.benchmarks.made import BATCHED, STACKS, burst, measured

TOGETHER = Row(GATEWAY, PREDICT, MOST)
FIGURES = ["requests/s", "p50 ms", "p95 ms", "p99 ms"]


def test_percentiles_are_those_of_all_answers_of_a_round() -> None:
    found = Burst([float(n) for n in range(1, 102)], per_s=10)
    assert [found.percentile(percent) for percent in (50, 95, 99)] == [51.0, 96.0, 100.0]
    assert Burst([7.0], per_s=1).percentile(99) == 7.0


def test_every_stack_is_asked_for_predictions_by_1_8_and_32_clients() -> None:
    asked = {(row.stack, row.clients) for row in ROWS if row.asks == PREDICT}
    assert {(stack, n) for stack in (SMALL, PLAIN, TORCHSERVE, GATEWAY) for n in (1, 8, 32)} < asked
    assert CLIENTS == (1, 8, 32)
    assert len(set(ROWS)) == len(ROWS)


def test_ratios_are_taken_within_each_round_so_a_slower_machine_changes_none() -> None:
    found = measured()
    assert found.of_ceiling(TOGETHER) == Spread(0.9, 0.0, 2)
    assert found.times(TOGETHER, PLAIN) == Spread(4.5, 0.0, 2)
    assert found.times(TOGETHER, SMALL) == Spread(2.25, 0.0, 2)
    assert found.slower(Row(GATEWAY), Row(TORCHSERVE)) == Spread(0.75, 0.0, 2)


def test_a_batch_counts_with_all_its_pictures_beside_the_ceiling() -> None:
    assert measured().of_ceiling(BATCHED) == Spread(0.5, 0.0, 2)


def test_figures_that_are_no_ratios_show_the_spread_of_the_rounds() -> None:
    assert measured().spread(TOGETHER, lambda found: found.per_s) == Spread(67.5, 1012.5**0.5, 2)


def test_goals_that_are_just_reached_are_met() -> None:
    assert [str(goal) for goal in measured(together=burst(40, 90)).goals()] == [
        "met: share of the ceiling at 32 clients 0.90 ± 0.00, at least 0.75",
        "met: times the plain service with our views at 32 clients 4.50 ± 0.00, at least 4.5",
        "met: p50 of one client beside one picture in process 1.50 ± 0.00, at most 1.5",
        "met: p99 of /healthz under load, ms 45.00 ± 21.21, at most 50",
        "met: p50 of an explanation beside a prediction's 1.60 ± 0.00, at most 1.6",
        "met: memory, MB 1,000 ± 0, at most 2,500",
    ]


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"together": burst(40, 70)}, [0, 1]),
        ({"together": burst(40, 80)}, [1]),
        ({"alone": burst(16, 40)}, [2]),
        ({"probes": Burst([40.0], 50)}, [3]),
        ({"explained": burst(25, 30)}, [4]),
    ],
    ids=["too far from the ceiling", "too near the plain service", "slow alone", "slow probes", "slow explanations"],
)
def test_goals_are_missed_on_the_wrong_side(changed: dict[str, Burst], missed: list[int]) -> None:
    assert [place for place, goal in enumerate(measured(**changed).goals()) if not goal.met] == missed


def test_the_table_has_a_whole_line_for_every_row(tmp_path: Path) -> None:
    with (tmp_path / "table.txt").open("w+") as file:
        Console(file=file, width=WIDTH).print(table(measured()))
        file.seek(0)
        lines = file.read().splitlines()
    for column in (*FIGURES, *COLUMNS):
        assert column in lines[1]
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert [tuple(line[1:3]) for line in cells] == [(row.asks, str(row.clients)) for row in ROWS]
    assert [line[0] for line in cells if line[0]] == list(STACKS)
    (most,) = [line for line, row in zip(cells, ROWS, strict=True) if row == TOGETHER]
    assert most[3] == "67.50 ± 31.82"
    assert most[7:] == ["0.90 ± 0.00", "4.50 ± 0.00", "2.25 ± 0.00", "", ""]
    assert [line[-2:] for line in cells if line[0]] == [["1,000", "2.5"]] * len(STACKS)
    assert any("model: 1.2.3" in line for line in lines)
    assert sum("met: " in line for line in lines) == 6


def test_the_json_has_every_figure_with_mean_spread_and_rounds() -> None:
    found = json.loads(json.dumps(measured().as_json()))
    assert list(found) == ["about", "rows", "stacks", "goals"]
    assert [(row["stack"], row["asks"], row["clients"]) for row in found["rows"]] == [
        (row.stack, row.asks, row.clients) for row in ROWS
    ]
    for row in found["rows"]:
        for figure in (*FIGURES, "of the ceiling"):
            assert list(row[figure]) == ["mean", "sd", "n"]
            assert row[figure]["n"] == 2
    assert found["stacks"] == {
        name: {"memory MB": {"mean": 1000.0, "sd": 0.0, "n": 2}, "start-up s": 2.5} for name in STACKS
    }
    assert [goal["met"] for goal in found["goals"]] == [True] * 6


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    draw(measured(), tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as plot:
        assert (plot.format, plot.size) == ("PNG", (1440, 540))
        assert len(plot.convert("RGB").getcolors(1 << 24) or []) > 4
