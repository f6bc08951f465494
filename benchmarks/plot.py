"""A plot of the measurements: rates against the ceiling, and latencies."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures import CEILING, CLIENTS, FIGURES, GATEWAY, PLAIN, PREDICT, SMALL, TORCHSERVE, Measured, Row

STACKS = (SMALL, PLAIN, TORCHSERVE, GATEWAY)
WIDTH = 0.8 / len(STACKS)


def draw(found: Measured, path: Path) -> None:
    """Write the plot as a PNG."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    rates, waits = figure.subplots(1, 2)
    _bars(found, rates, "requests/s")
    ceiling = found.spread(Row(CEILING), FIGURES["requests/s"]).mean
    rates.axhline(ceiling, color="black", linestyle="--", label=CEILING)
    _bars(found, waits, "p50 ms")
    waits.set_yscale("log")
    figure.legend(*rates.get_legend_handles_labels(), loc="outside lower center", ncols=len(STACKS) + 1)
    figure.savefig(path, format="png", dpi=120)


def _bars(found: Measured, axes: Axes, title: str) -> None:
    for place, stack in enumerate(STACKS):
        spreads = [found.spread(Row(stack, PREDICT, clients), FIGURES[title]) for clients in CLIENTS]
        axes.bar(
            [position + (place - (len(STACKS) - 1) / 2) * WIDTH for position in range(len(CLIENTS))],
            [spread.mean for spread in spreads],
            WIDTH,
            yerr=[spread.sd for spread in spreads],
            label=stack,
        )
    axes.set_xticks(range(len(CLIENTS)), [str(clients) for clients in CLIENTS])
    axes.set_xlabel("clients")
    axes.set_ylabel(title)
