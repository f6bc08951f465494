"""How close the product comes to what the machine can do, beside a plain service: `python -m benchmarks.serving`."""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import psutil
from rich.console import Console

from benchmarks import ceiling
from benchmarks.ceiling import Ceiling
from benchmarks.figures import ALONE, CEILING, HEALTH, MOST, PREDICT, ROWS, Burst, Measured, Row, health
from benchmarks.gateway import SIZES, sample
from benchmarks.load import Load, measure_for
from benchmarks.plot import draw
from benchmarks.stacks import BenchLayout, Stack, memory_mb, stacks
from benchmarks.tables import table
from stack.layout import ROOT
from stack.torchserve import ARCHIVE

WIDTH: Final = 180
"""Characters of a line, so that the table is whole in a log as well."""
PROBE_PAUSE_S: Final = 0.02
WATCHED_S: Final = 2
"""For so long the machine is watched before anything starts, to tell how busy it is with other things."""
Job = Callable[[float], dict[Row, Burst]]
"""Measures for so many seconds."""


@dataclass(frozen=True)
class Plan:
    """How many rounds, how many seconds each row is measured in a round, and how many before the first."""

    rounds: int = 3
    seconds: float = 5
    warm_up_s: float = 2


QUICK: Final = Plan(rounds=1, seconds=0.5, warm_up_s=0.2)


def main() -> None:
    """Run the benchmark from the command line."""
    arguments = _parse()
    signal.signal(signal.SIGTERM, _interrupt)  # so that everything that was started is stopped
    plan = QUICK if arguments.quick else Plan(arguments.rounds, arguments.seconds)
    found = run(plan, sample(arguments.photo), arguments.store)
    console = Console(highlight=False, width=WIDTH)
    console.print(table(found))
    for path in filter(None, (arguments.json, arguments.plot)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found.as_json(), indent=2) + "\n", encoding="utf-8")
    if arguments.plot:
        draw(found, arguments.plot)


def run(plan: Plan, photo: bytes, store: Path) -> Measured:
    """Start everything, measure it in turns, so that other load affects all alike, and stop it."""
    busy = psutil.cpu_percent(WATCHED_S)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        layout, unpacked = BenchLayout(var=Path(folder) / "var", store=store), Path(folder) / "unpacked"
        layout.var.mkdir()
        spec = ceiling.unpack(store / ARCHIVE, unpacked)
        served = opened.enter_context(stacks(photo, layout, spec))
        pools = opened.enter_context(ceiling.pools(unpacked, photo, layout.environment()))
        best = Ceiling.find(pools, plan.seconds / 2)
        about = {
            "model": spec["version"],
            "photo": f"{len(photo) / 1000:.0f} kB",
            "cores": psutil.cpu_count(),
            "of them busy before": f"{busy:.0f} %",
            "ceiling with": str(best.together),
            "one picture with": str(best.alone),
        }
        return measured(plan, served, best, about)


def measured(plan: Plan, served: Sequence[Stack], best: Ceiling, about: dict[str, Any]) -> Measured:
    """Measure every row in every round, each round beginning with another one."""
    processes = {stack.name: stack.processes for stack in served}
    processes |= {CEILING: best.together.pool.processes, ALONE: best.alone.pool.processes[:1]}
    start_s = {stack.name: stack.start_s for stack in served}
    start_s |= {CEILING: best.together.pool.start_s, ALONE: best.alone.pool.start_s}
    jobs = _jobs(served, best)
    for job in jobs:
        job(plan.warm_up_s)
    rounds, memory = list[dict[Row, Burst]](), list[dict[str, float]]()
    for turn in range(plan.rounds):
        first = turn * len(jobs) // plan.rounds
        rounds.append({row: burst for job in jobs[first:] + jobs[:first] for row, burst in job(plan.seconds).items()})
        memory.append({name: memory_mb(found) for name, found in processes.items()})
    return Measured(rounds, memory, start_s, about)


def _jobs(served: Sequence[Stack], best: Ceiling) -> list[Job]:
    by_name = {stack.name: stack for stack in served}
    jobs: list[Job] = [
        lambda seconds: {Row(CEILING): best.together.pool.judge(best.together.batch, seconds)},
        lambda seconds: {Row(ALONE): best.alone.pool.judge(1, seconds, processes=1)},
    ]
    for row in ROWS:
        stack = by_name.get(row.stack)
        if stack is None or row.asks == HEALTH:  # the ceiling's are there, probes come with the load
            continue
        loaded = row.asks == PREDICT and row.clients == MOST and HEALTH in stack.requests
        jobs.append(partial(_with_probes if loaded else _requests, stack, row))
    return jobs


def _requests(stack: Stack, row: Row, seconds: float) -> dict[Row, Burst]:
    load = measure_for(stack.port, stack.requests[row.asks], seconds=seconds, connections=row.clients)
    return {row: _burst(load)}


def _with_probes(stack: Stack, row: Row, seconds: float) -> dict[Row, Burst]:
    with ThreadPoolExecutor(1) as thread:  # a loop of its own, so that the load's work does not count for the probes
        load = thread.submit(_requests, stack, row, seconds)
        probes = measure_for(stack.port, stack.requests[HEALTH], seconds=seconds, connections=1, pause_s=PROBE_PAUSE_S)
        return load.result() | {health(stack.name): _burst(probes)}


def _burst(load: Load) -> Burst:
    return Burst(load.latencies_ms, len(load.latencies_ms) / load.seconds)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--photo", choices=SIZES, default="100kB", help="about how large the photo is")
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="for each row in a round")
    parser.add_argument("--quick", action="store_true", help="one short round, to check that everything runs")
    parser.add_argument("--store", type=Path, default=ROOT / "model_store", help="folder of the archive to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures into this file as well")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the rates and latencies into this PNG as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
