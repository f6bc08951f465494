"""The panels of the shipped Grafana dashboards: titles, units and PromQL."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stack.layout import ROOT

FOLDER: Final = ROOT / "docker" / "grafana" / "dashboards"


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
