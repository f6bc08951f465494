"""The benchmark itself, on real processes but with a few requests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = ("--rounds", "2", "--alone", "5", "--together", "40", "--connections", "4")
FIGURES = ["p50 ms", "p95 ms", "requests/s", "requests/CPU-s"]
TARGETS = ["null back end", "Starlette echo", "gateway"]


def bench(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.gateway", *TINY, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_table_has_every_target_with_every_figure() -> None:
    printed = bench()
    for name in (*FIGURES, *TARGETS, "gateway's p50 adds, ms", "ratio", "n = 2 rounds"):
        assert name in printed
    assert "105 kB JPEG; a round is 5 requests one by one, then 40" in printed
    rows = {name: line for line in printed.splitlines() for name in TARGETS if line.startswith(f"│ {name} ")}
    # A gateway's row has no figures beside itself.
    assert {name: row.count("±") for name, row in rows.items()} == {
        "null back end": 6,
        "Starlette echo": 6,
        "gateway": 4,
    }


def test_the_json_has_mean_spread_and_number_of_rounds_of_every_figure() -> None:
    found = json.loads(bench("--json"))
    assert list(found) == ["targets", "p50_added_ms", "p50_ratio", "meets_bar", "photo_bytes"]
    assert {name: list(figures) for name, figures in found["targets"].items()} == dict.fromkeys(TARGETS, FIGURES)
    spreads = [spread for figures in found["targets"].values() for spread in figures.values()]
    spreads += [*found["p50_added_ms"].values(), *found["p50_ratio"].values()]
    assert len(spreads) == 16
    for spread in spreads:
        assert list(spread) == ["mean", "sd", "n"]
        assert spread["n"] == 2
        assert spread["sd"] >= 0
    assert all(spread["mean"] > 0 for figures in found["targets"].values() for spread in figures.values())
