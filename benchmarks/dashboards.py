"""The drift demo's dashboards: the panels that ship, drawn from Prometheus's data while the story runs."""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import EngFormatter, Formatter, PercentFormatter
from PIL import Image

from benchmarks.prometheus import AlertState, Prometheus, Series, Traffic
from deploy.layout import ROOT, StackError

FOLDER: Final = ROOT / "docker" / "grafana" / "dashboards"
ALERT: Final = "DriftDetected"
SETTINGS: Final[Mapping[str, str]] = {
    "API_KEYS": "",
    "REQUIRE_AUTH": "false",
    "GATEWAY_PREDICT_RATE": "100000",
    "GATEWAY_BATCH_RATE": "100000",
    "GATEWAY_EXPLAIN_RATE": "5",  # so that some are over it
    "GATEWAY_DRIFT_FILE": ".",
    "GATEWAY_DRIFT_WINDOW": "60",
}
"""The gateway's settings: a drift window that fills in seconds."""
PATIENCE_S: Final = 120
POLL_S: Final = 0.5
Report = Callable[[str], None]
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
class Query:
    """One expression of a panel and the template of its legend."""

    expression: str
    legend: str

    def over(self, interval: str) -> str:
        """Return the PromQL, with a time for Grafana's `$__rate_interval`."""
        return self.expression.replace("$__rate_interval", interval)

    def name(self, labels: Mapping[str, str]) -> str:
        """Return a series' name as the legend says it."""
        return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), self.legend)


@dataclass(frozen=True)
class Panel:
    """What a panel shows."""

    title: str
    kind: str
    unit: str
    queries: tuple[Query, ...]
    limit: float | None
    """Where a threshold is drawn, if one is."""


@dataclass(frozen=True)
class Dashboard:
    """A dashboard's title and panels."""

    title: str
    panels: tuple[Panel, ...]


def dashboards(folder: Path = FOLDER) -> list[Dashboard]:
    """Return the shipped dashboards, the service's first."""
    read = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"), reverse=True)]
    return [Dashboard(one["title"], tuple(_panel(panel) for panel in one["panels"])) for one in read]


def _panel(panel: Mapping[str, Any]) -> Panel:
    defaults = panel["fieldConfig"]["defaults"]
    queries = tuple(Query(target["expr"], target["legendFormat"]) for target in panel["targets"])
    drawn = "thresholdsStyle" in defaults.get("custom", {})
    limit = float(defaults["thresholds"]["steps"][-1]["value"]) if drawn else None
    return Panel(panel["title"], panel["type"], defaults["unit"], queries, limit)


@dataclass(frozen=True)
class Moment:
    """When something happened, in seconds since 1970, and what."""

    at: float
    what: str


@dataclass(frozen=True)
class Storyteller:
    """Sends photos, watches the alert and reports; `check` may raise StackError when a process is gone."""

    prometheus: Prometheus
    traffic: Traffic
    check: Callable[[], None]
    report: Report
    progress: Report

    def tell(self, usual: Sequence[bytes], odd: Sequence[bytes], calm_s: float) -> list[Moment]:
        """Let drift come and go, with so many calm seconds before and after, and return what happened when.

        Raises:
            StackError: Something did not happen in time.
        """
        self.traffic.send(usual)
        moments = [self._when(self._is_full, "the drift window is full of ordinary images")]
        self._rest(calm_s)
        self.traffic.send(odd)
        moments += [
            Moment(time.time(), "odd photos are sent"),
            self._when(lambda: self._alert() == "pending", f"{ALERT} is pending"),
            self._when(lambda: self._alert() == "firing", f"{ALERT} is firing"),
        ]
        self.traffic.send(usual)
        moments.append(self._when(lambda: self._alert() == "inactive", f"{ALERT} is resolved"))
        self._rest(calm_s)
        return moments

    def _alert(self) -> AlertState:
        return self.prometheus.alert(ALERT)

    def _is_full(self) -> bool:
        return self.prometheus.value("max(aidetect_drift_window_size)") == float(SETTINGS["GATEWAY_DRIFT_WINDOW"])

    def _when(self, happened: Callable[[], bool], what: str) -> Moment:
        deadline = time.monotonic() + PATIENCE_S
        while not happened():
            if time.monotonic() > deadline:
                raise StackError(f"waited {PATIENCE_S} s in vain until {what}; the machine may be too busy, try again")
            self._wait(f"until {what}")
        self.report(f"{what}: {self._figures()}")
        return Moment(time.time(), what)

    def _rest(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._wait("a calm while")

    def _wait(self, what: str) -> None:
        self.check()
        self.progress(f"{what}: {self._figures()}")
        time.sleep(POLL_S)

    def _figures(self) -> str:
        window = self.prometheus.value("max(aidetect_drift_window_size)") or 0
        score = self.prometheus.value("max(aidetect_drift_score)") or 0
        return f"window {window:.0f}, drift score {score:.2f}, alert {self._alert()}"


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
