"""The dashboards' panels as one image, drawn from what Prometheus has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import EngFormatter, Formatter, PercentFormatter
from PIL import Image

from stack.monitoring.api import Prometheus, Series
from stack.monitoring.dashboards import Dashboard, Panel
from stack.monitoring.story import Moment

COLUMNS: Final = 5
PANEL_INCHES: Final = (3.6, 2.1)
DPI: Final = 90
COLOURS: Final = 96
STEP_S: Final = 1.0
STATES: Final = {1: "#f2b632", 2: "#d43f3a"}
"""Pending and firing."""
UNITS: Final[Mapping[str, Formatter]] = {
    "percentunit": PercentFormatter(1),
    "percent": PercentFormatter(100),
    "bytes": EngFormatter("B"),
    "Bps": EngFormatter("B/s"),
    "s": EngFormatter("s"),
}


@dataclass(frozen=True)
class Source:
    """A Prometheus, a time in seconds since 1970, and what to take for Grafana's `$__rate_interval`."""

    prometheus: Prometheus
    start: float
    end: float
    rate_interval: str

    def series(self, panel: Panel) -> dict[str, Series]:
        """Return a panel's series by their legends, times counted from the start; without those that have no number."""
        found = {
            query.name(one.labels): Series(one.labels, [at - self.start for at in one.times], one.values)
            for query in panel.queries
            for one in self.prometheus.ranges(query.over(self.rate_interval), self.start, self.end, STEP_S)
        }
        return {name: one for name, one in found.items() if not np.isnan(one.values).all()}


def draw(boards: Sequence[Dashboard], source: Source, moments: Sequence[Moment], file: Path) -> list[str]:
    """Draw all panels, with a dotted line at each moment, and return the titles of those that have no data."""
    rows = [-(-len(board.panels) // COLUMNS) for board in boards]
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * COLUMNS, height * sum(rows) + 0.4 * len(rows)), layout="constrained", dpi=DPI)
    parts = figure.subfigures(len(boards), 1, height_ratios=rows, squeeze=False)[:, 0]
    lines = [moment.at - source.start for moment in moments]
    empty = []
    for part, board, count in zip(parts, boards, rows, strict=True):
        part.suptitle(board.title, fontsize=12, fontweight="bold")
        empty += _board(part, board, count, source, lines)
    said = ", ".join(f"{moment.what} ({at:.0f} s)" for moment, at in zip(moments, lines, strict=True))
    parts[-1].supxlabel(f"Seconds. Dotted lines: {said}", fontsize=9)
    _save(figure, file)
    return empty


def _board(part: SubFigure, board: Dashboard, rows: int, source: Source, lines: Sequence[float]) -> list[str]:
    empty = []
    for number, panel in enumerate(board.panels, 1):
        axes = part.add_subplot(rows, COLUMNS, number)
        axes.set_title(panel.title, fontsize=9, loc="left")
        axes.tick_params(labelsize=7)
        if panel.unit in UNITS:
            axes.yaxis.set_major_formatter(UNITS[panel.unit])
        named = source.series(panel)
        DRAWN.get(panel.kind, _lines)(axes, panel, named)
        for at in lines:
            axes.axvline(at, color="grey", linewidth=0.7, linestyle=":")
        axes.set_xlim(0, source.end - source.start)
        if not named:
            axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="grey")
            empty.append(panel.title)
    return empty


def _lines(axes: Axes, panel: Panel, named: Mapping[str, Series]) -> None:
    for name, one in sorted(named.items()):
        axes.plot(one.times, one.values, linewidth=1.2, label=name)
    if panel.limit is not None:
        axes.axhline(panel.limit, color=STATES[2], linewidth=0.8, linestyle="--")
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0)
    if named:
        axes.legend(fontsize=6, loc="best", framealpha=0.6)


def _heatmap(axes: Axes, _panel: Panel, named: Mapping[str, Series]) -> None:
    """Cumulative buckets by their upper ends, as one colour a bucket and moment."""
    ordered = sorted(named.items(), key=lambda item: float(item[0]))
    finite = [(float(edge), one) for edge, one in ordered if np.isfinite(float(edge))]
    if not finite:
        return
    times = sorted({at for _, one in finite for at in one.times})
    cumulative = np.array([np.interp(times, one.times, one.values) for _, one in finite])
    counts = np.diff(cumulative, axis=0, prepend=0)
    axes.pcolormesh(times, [0.0, *(edge for edge, _ in finite)], counts[:, :-1], cmap="YlOrRd")


def _timeline(axes: Axes, _panel: Panel, named: Mapping[str, Series]) -> None:
    for row, (_, one) in enumerate(sorted(named.items())):
        step = min(np.diff(one.times), default=1)
        for state, colour in STATES.items():
            bars = [(at, step) for at, value in zip(one.times, one.values, strict=True) if value == state]
            axes.broken_barh(bars, (row - 0.4, 0.8), color=colour)
    axes.set_yticks(range(len(named)), sorted(named), fontsize=6)


DRAWN: Final[Mapping[str, Callable[[Axes, Panel, Mapping[str, Series]], None]]] = {
    "heatmap": _heatmap,
    "state-timeline": _timeline,
}


def _save(figure: Figure, file: Path) -> None:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    file.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(buffer) as picture:
        picture.convert("RGB").quantize(COLOURS).save(file, optimize=True)
