"""How close the product comes to what the machine can do, beside a plain service: `python -m benchmarks.serving`."""

import argparse
import json
import tempfile
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks import harness, score
from benchmarks.harness import BATCH, EXPLAIN, GATEWAY, HEALTH, PREDICT, TORCHSERVE, Load, Spread, Stack
from deploy.layout import ROOT
from deploy.local.supervisor import interrupt_once
from deploy.torchserve.process import ARCHIVE

CEILING, ALONE = "in-process ceiling", "in-process, one image"
SMALL, PLAIN = "plain, 224 px", "plain, our views"
STACKS: Final = (SMALL, PLAIN, TORCHSERVE, GATEWAY)
SMALL_SIDE: Final = 224
"""Pixels; what EfficientNet-B0 was made for."""
CLIENTS: Final = (1, 8, 32)
MOST: Final = CLIENTS[-1]
COLUMNS: Final = ("of ceiling", "x plain", "x plain 224", "memory MB", "start-up s")
WIDTH: Final = 180
"""Characters of a line, so that the table is whole in a log as well."""
BAR_WIDTH: Final = 0.8 / len(STACKS)
PROBE_PAUSE_S: Final = 0.02
WATCHED_S: Final = 2
"""For so long the machine is watched before anything starts, to tell how busy it is with other things."""


@dataclass(frozen=True)
class Row:
    """A row of the table: stack, route, number of clients, and images per request."""

    stack: str
    asks: str = PREDICT
    clients: int = 1
    images: int = 1


def health(stack: str) -> Row:
    """Probes of a stack's health while the most clients ask it for predictions."""
    return Row(stack, HEALTH, MOST, images=0)


ROWS: Final = (
    Row(CEILING),
    Row(ALONE),
    *(row for service in (SMALL, PLAIN) for row in [*(Row(service, PREDICT, n) for n in CLIENTS), health(service)]),
    *(Row(stack, PREDICT, n) for stack in (TORCHSERVE, GATEWAY) for n in CLIENTS),
    *(Row(GATEWAY, EXPLAIN, n) for n in (1, 8)),
    Row(GATEWAY, BATCH, 1, images=harness.BATCH_FILES),
    health(GATEWAY),
)
Found = dict[Row, Load]
"""What one or more rows came to in a round."""
Job = Callable[[float], Found]
"""Measures for so many seconds."""
FIGURES: Final[Mapping[str, Callable[[Load], float]]] = {
    "requests/s": lambda load: load.per_s,
    "p50 ms": lambda load: load.percentile(50),
    "p95 ms": lambda load: load.percentile(95),
    "p99 ms": lambda load: load.percentile(99),
}


@dataclass(frozen=True)
class Goal:
    """A figure that should be `at least` or `at most` so large."""

    what: str
    found: Spread
    side: str
    bound: float

    @property
    def met(self) -> bool:
        """Whether the mean of the rounds is on the right side."""
        return self.found.mean >= self.bound if self.side == "at least" else self.found.mean <= self.bound

    def __str__(self) -> str:
        return f"{'met' if self.met else 'missed'}: {self.what} {self.found}, {self.side} {self.bound:,g}"


@dataclass(frozen=True)
class Measured:
    """All rounds, each with a load for every row and each stack's memory after it, and the stacks' start-up times."""

    rounds: list[Found]
    memory_mb: list[dict[str, float]]
    start_s: dict[str, float]
    about: dict[str, Any]

    def spread(self, row: Row, figure: str) -> Spread:
        """A figure of one row."""
        return Spread.of(FIGURES[figure](found[row]) for found in self.rounds)

    def memory(self, stack: str) -> Spread:
        """Resident memory of a stack's processes together, in MB."""
        return Spread.of(found[stack] for found in self.memory_mb)

    def of_ceiling(self, row: Row) -> Spread:
        """Images per second as a share of the ceiling's in the same round."""
        return Spread.of(found[row].per_s * row.images / found[Row(CEILING)].per_s for found in self.rounds)

    def times(self, row: Row, base: Row, figure: str = "requests/s") -> Spread:
        """A figure as a multiple of another row's in the same round."""
        return Spread.of(FIGURES[figure](found[row]) / FIGURES[figure](found[base]) for found in self.rounds)

    def goals(self) -> list[Goal]:
        """What the stack should reach on any machine."""
        one, most, views, p50 = Row(GATEWAY), Row(GATEWAY, PREDICT, MOST), Row(PLAIN, PREDICT, MOST), "p50 ms"
        plain = f"times the plain service with our views at {MOST} clients"
        explained = self.times(Row(GATEWAY, EXPLAIN), one, p50)
        return [
            Goal(f"share of the ceiling at {MOST} clients", self.of_ceiling(most), "at least", 0.75),
            Goal(plain, self.times(most, views), "at least", 4.5),
            Goal("p50 of one client beside one image in process", self.times(one, Row(ALONE), p50), "at most", 1.5),
            Goal("p99 of /healthz under load, ms", self.spread(health(GATEWAY), "p99 ms"), "at most", 50),
            Goal("p50 of an explanation beside a prediction's", explained, "at most", 1.6),
            Goal("memory, MB", self.memory(GATEWAY), "at most", 2500),
        ]

    def as_json(self) -> dict[str, Any]:
        """Every figure of every row, and what is drawn from them."""
        rows = [
            asdict(row)
            | {title: asdict(self.spread(row, title)) for title in FIGURES}
            | {"of the ceiling": asdict(self.of_ceiling(row))}
            for row in ROWS
        ]
        served = {
            name: {"memory MB": asdict(self.memory(name)), "start-up s": start} for name, start in self.start_s.items()
        }
        goals = [asdict(goal) | {"met": goal.met} for goal in self.goals()]
        return {"about": self.about, "rows": rows, "stacks": served, "goals": goals}


def draw(found: Measured, path: Path) -> None:
    """Write the plot as a PNG."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    rates, waits = figure.subplots(1, 2)
    for axes, title in ((rates, "requests/s"), (waits, "p50 ms")):
        for place, stack in enumerate(STACKS):
            spreads = [found.spread(Row(stack, PREDICT, clients), title) for clients in CLIENTS]
            places = [at + (place - (len(STACKS) - 1) / 2) * BAR_WIDTH for at in range(len(CLIENTS))]
            means, errors = [each.mean for each in spreads], [each.sd for each in spreads]
            axes.bar(places, means, BAR_WIDTH, yerr=errors, label=stack)
        axes.set_xticks(range(len(CLIENTS)), [str(clients) for clients in CLIENTS])
        axes.set(xlabel="clients", ylabel=title)
    ceiling = found.spread(Row(CEILING), "requests/s").mean
    rates.axhline(ceiling, color="black", linestyle="--", label=CEILING)
    waits.set_yscale("log")
    figure.legend(*rates.get_legend_handles_labels(), loc="outside lower center", ncols=len(STACKS) + 1)
    figure.savefig(path, format="png", dpi=120)


def table(found: Measured) -> Table:
    """Every row with its figures, mean ± standard deviation of the rounds; memory and start-up once a stack."""
    about = "; ".join(f"{name}: {value}" for name, value in found.about.items())
    caption = "\n".join([f"n = {len(found.rounds)} rounds, mean ± sd. {about}", *map(str, found.goals())])
    head = ("stack", "asked for", "clients", *FIGURES, *COLUMNS)
    grid = Table(*head, caption=caption, caption_justify="left", padding=(0, 0))
    for before, row in zip((None, *ROWS), ROWS, strict=False):
        first = before is None or before.stack != row.stack
        compared = row.asks == PREDICT and row.stack in {TORCHSERVE, GATEWAY}
        bases = [Row(base, PREDICT, row.clients) for base in (PLAIN, SMALL)]
        grid.add_row(
            row.stack if first else "",
            row.asks,
            str(row.clients),
            *(str(found.spread(row, title)) for title in FIGURES),
            str(found.of_ceiling(row)) if row.images else "",
            *(str(found.times(row, base)) if compared else "" for base in bases),
            f"{found.memory(row.stack).mean:,.0f}" if first else "",
            f"{found.start_s[row.stack]:.1f}" if first else "",
        )
    return grid


@interrupt_once()
def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--photo", choices=harness.SIZES, default="100kB", help="about how large the image is")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="for each row in a round")
    parser.add_argument("--quick", action="store_true", help="one short round, to check that everything runs")
    parser.add_argument("--store", type=Path, default=ROOT / "model_store", help="folder of the archive to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures into this file as well")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the rates and latencies into this PNG as well")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 0.5
    found = run(arguments, harness.sample(arguments.photo))
    Console(highlight=False, width=WIDTH).print(table(found))
    for path in filter(None, (arguments.json, arguments.plot)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found.as_json(), indent=2) + "\n", encoding="utf-8")
    if arguments.plot:
        draw(found, arguments.plot)


def run(plan: argparse.Namespace, photo: bytes) -> Measured:
    """Start everything, each alone on the machine, and measure it in turns, so that other load affects all alike."""
    busy = psutil.cpu_percent(WATCHED_S)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        layout, unpacked = harness.BenchLayout(Path(folder) / "var", plan.store), Path(folder) / "unpacked"
        layout.var.mkdir()
        spec = score.unpack(plan.store / ARCHIVE, unpacked)
        sides = [spec["input_size"], *[spec["detail_size"]] * spec["details"]]
        served = [
            opened.enter_context(harness.plain(SMALL, [SMALL_SIDE], photo, layout.var)),
            opened.enter_context(harness.plain(PLAIN, sides, photo, layout.var)),
            *opened.enter_context(harness.product(photo, layout)),
        ]
        pools = opened.enter_context(score.pools(unpacked, photo, layout.environment()))
        together, alone = score.ceiling(pools, plan.seconds / 2)
        about = {
            "model": spec["version"],
            "photo": f"{len(photo) / 1000:.0f} kB",
            "cores": psutil.cpu_count(),
            "of them busy before": f"{busy:.0f} %",
            "ceiling with": str(together),
            "one image with": str(alone),
        }
        processes: dict[str, Sequence[psutil.Process]]
        processes = {CEILING: together.pool.processes, ALONE: alone.pool.processes[:1]}
        processes |= {one.name: one.processes for one in served}
        start_s = {CEILING: together.pool.start_s, ALONE: alone.pool.start_s}
        start_s |= {one.name: one.start_s for one in served}
        jobs = _jobs(served, together, alone)
        for job in jobs:
            job(plan.seconds * 0.4)
        found = Measured([], [], start_s, about)
        for turn in range(plan.rounds):  # each begins with another job
            first = turn * len(jobs) // plan.rounds
            loads = [job(plan.seconds) for job in jobs[first:] + jobs[:first]]
            found.rounds.append(dict(ChainMap(*loads)))
            found.memory_mb.append({name: harness.memory_mb(each) for name, each in processes.items()})
        return found


def _jobs(served: Sequence[Stack], together: score.Best, alone: score.Best) -> list[Job]:
    by_name = {stack.name: stack for stack in served}
    jobs: list[Job] = [
        lambda seconds: {Row(CEILING): together.pool.predict(together.batch, seconds)},
        lambda seconds: {Row(ALONE): alone.pool.predict(1, seconds, processes=1)},
    ]
    for row in ROWS:
        stack = by_name.get(row.stack)
        if stack is None or row.asks == HEALTH:  # the ceiling's are there, probes come with the load
            continue
        loaded = row.asks == PREDICT and row.clients == MOST and HEALTH in stack.requests
        jobs.append(partial(_with_probes if loaded else _requests, stack, row))
    return jobs


def _requests(stack: Stack, row: Row, seconds: float) -> Found:
    return {row: harness.measure_for(stack.port, stack.requests[row.asks], seconds=seconds, connections=row.clients)}


def _with_probes(stack: Stack, row: Row, seconds: float) -> Found:
    with ThreadPoolExecutor(1) as thread:  # a loop of its own, so that the load's work does not count for the probes
        load = thread.submit(_requests, stack, row, seconds)
        probe = stack.requests[HEALTH]
        probes = harness.measure_for(stack.port, probe, seconds=seconds, connections=1, pause_s=PROBE_PAUSE_S)
        return load.result() | {health(stack.name): probes}


if __name__ == "__main__":
    main()
