"""How close the product comes to what the machine can do, beside a plain service: `python -m benchmarks.serving`."""

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
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks import figures, score
from benchmarks.gateway import SIZES, sample
from benchmarks.load import Load, measure_for
from benchmarks.score import Ceiling
from benchmarks.stacks import BenchLayout, Stack, memory_mb, stacks
from deploy.layout import ROOT
from deploy.torchserve.process import ARCHIVE

STACKS = (figures.SMALL, figures.PLAIN, figures.TORCHSERVE, figures.GATEWAY)
BAR_WIDTH = 0.8 / len(STACKS)
COLUMNS = ("of ceiling", "x plain", "x plain 224", "memory MB", "start-up s")
WIDTH: Final = 180
"""Characters of a line, so that the table is whole in a log as well."""
PROBE_PAUSE_S: Final = 0.02
WATCHED_S: Final = 2
"""For so long the machine is watched before anything starts, to tell how busy it is with other things."""
Job = Callable[[float], dict[figures.Row, figures.Burst]]
"""Measures for so many seconds."""


def draw(found: figures.Measured, path: Path) -> None:
    """Write the plot as a PNG."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    rates, waits = figure.subplots(1, 2)
    _bars(found, rates, "requests/s")
    ceiling = found.spread(figures.Row(figures.CEILING), figures.FIGURES["requests/s"]).mean
    rates.axhline(ceiling, color="black", linestyle="--", label=figures.CEILING)
    _bars(found, waits, "p50 ms")
    waits.set_yscale("log")
    figure.legend(*rates.get_legend_handles_labels(), loc="outside lower center", ncols=len(STACKS) + 1)
    figure.savefig(path, format="png", dpi=120)


def _bars(found: figures.Measured, axes: Axes, title: str) -> None:
    for place, stack in enumerate(STACKS):
        spreads = [
            found.spread(figures.Row(stack, figures.PREDICT, clients), figures.FIGURES[title])
            for clients in figures.CLIENTS
        ]
        axes.bar(
            [position + (place - (len(STACKS) - 1) / 2) * BAR_WIDTH for position in range(len(figures.CLIENTS))],
            [spread.mean for spread in spreads],
            BAR_WIDTH,
            yerr=[spread.sd for spread in spreads],
            label=stack,
        )
    axes.set_xticks(range(len(figures.CLIENTS)), [str(clients) for clients in figures.CLIENTS])
    axes.set_xlabel("clients")
    axes.set_ylabel(title)


def table(found: figures.Measured) -> Table:
    """Every row with its figures, mean ± standard deviation of the rounds; memory and start-up once a stack."""
    grid = Table(
        "stack",
        "asked for",
        "clients",
        *figures.FIGURES,
        *COLUMNS,
        caption=_caption(found),
        caption_justify="left",
        padding=(0, 0),
    )
    for before, row in zip((None, *figures.ROWS), figures.ROWS, strict=False):
        first = before is None or before.stack != row.stack
        grid.add_row(
            row.stack if first else "",
            row.asks,
            str(row.clients),
            *(str(found.spread(row, figure)) for figure in figures.FIGURES.values()),
            str(found.of_ceiling(row)) if row.pictures else "",
            *(_times(found, row, base) for base in (figures.PLAIN, figures.SMALL)),
            f"{found.memory(row.stack).mean:,.0f}" if first else "",
            f"{found.start_s[row.stack]:.1f}" if first else "",
        )
    return grid


def _times(found: figures.Measured, row: figures.Row, base: str) -> str:
    compared = row.asks == figures.PREDICT and row.stack in {figures.TORCHSERVE, figures.GATEWAY}
    return str(found.times(row, base)) if compared else ""


def _caption(found: figures.Measured) -> str:
    about = "; ".join(f"{name}: {value}" for name, value in found.about.items())
    return "\n".join([f"n = {len(found.rounds)} rounds, mean ± sd. {about}", *map(str, found.goals())])


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


def run(plan: Plan, photo: bytes, store: Path) -> figures.Measured:
    """Start everything, measure it in turns, so that other load affects all alike, and stop it."""
    busy = psutil.cpu_percent(WATCHED_S)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        layout, unpacked = BenchLayout(var=Path(folder) / "var", store=store), Path(folder) / "unpacked"
        layout.var.mkdir()
        spec = score.unpack(store / ARCHIVE, unpacked)
        served = opened.enter_context(stacks(photo, layout, spec))
        pools = opened.enter_context(score.pools(unpacked, photo, layout.environment()))
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


def measured(plan: Plan, served: Sequence[Stack], best: Ceiling, about: dict[str, Any]) -> figures.Measured:
    """Measure every row in every round, each round beginning with another one."""
    processes = {stack.name: stack.processes for stack in served}
    processes |= {figures.CEILING: best.together.pool.processes, figures.ALONE: best.alone.pool.processes[:1]}
    start_s = {stack.name: stack.start_s for stack in served}
    start_s |= {figures.CEILING: best.together.pool.start_s, figures.ALONE: best.alone.pool.start_s}
    jobs = _jobs(served, best)
    for job in jobs:
        job(plan.warm_up_s)
    rounds, memory = list[dict[figures.Row, figures.Burst]](), list[dict[str, float]]()
    for turn in range(plan.rounds):
        first = turn * len(jobs) // plan.rounds
        rounds.append({row: burst for job in jobs[first:] + jobs[:first] for row, burst in job(plan.seconds).items()})
        memory.append({name: memory_mb(found) for name, found in processes.items()})
    return figures.Measured(rounds, memory, start_s, about)


def _jobs(served: Sequence[Stack], best: Ceiling) -> list[Job]:
    by_name = {stack.name: stack for stack in served}
    jobs: list[Job] = [
        lambda seconds: {figures.Row(figures.CEILING): best.together.pool.judge(best.together.batch, seconds)},
        lambda seconds: {figures.Row(figures.ALONE): best.alone.pool.judge(1, seconds, processes=1)},
    ]
    for row in figures.ROWS:
        stack = by_name.get(row.stack)
        if stack is None or row.asks == figures.HEALTH:  # the ceiling's are there, probes come with the load
            continue
        loaded = row.asks == figures.PREDICT and row.clients == figures.MOST and figures.HEALTH in stack.requests
        jobs.append(partial(_with_probes if loaded else _requests, stack, row))
    return jobs


def _requests(stack: Stack, row: figures.Row, seconds: float) -> dict[figures.Row, figures.Burst]:
    load = measure_for(stack.port, stack.requests[row.asks], seconds=seconds, connections=row.clients)
    return {row: _burst(load)}


def _with_probes(stack: Stack, row: figures.Row, seconds: float) -> dict[figures.Row, figures.Burst]:
    with ThreadPoolExecutor(1) as thread:  # a loop of its own, so that the load's work does not count for the probes
        load = thread.submit(_requests, stack, row, seconds)
        probes = measure_for(
            stack.port, stack.requests[figures.HEALTH], seconds=seconds, connections=1, pause_s=PROBE_PAUSE_S
        )
        return load.result() | {figures.health(stack.name): _burst(probes)}


def _burst(load: Load) -> figures.Burst:
    return figures.Burst(load.latencies_ms, len(load.latencies_ms) / load.seconds)


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
