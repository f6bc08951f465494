"""Prometheus's HTTP API: the questions that the demo and the tests ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import httpx

from stack.layout import StackError

AlertState = Literal["inactive", "pending", "firing"]


@dataclass(frozen=True)
class Series:
    """One line of an answer: its labels, and values over time in seconds since 1970."""

    labels: dict[str, str]
    times: list[float]
    values: list[float]


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def alert(self, name: str) -> AlertState:
        """Return the worst state of an alert over all of its series."""
        states = {alert["state"] for alert in self._ask("alerts")["alerts"] if alert["labels"]["alertname"] == name}
        return "firing" if "firing" in states else "pending" if "pending" in states else "inactive"

    def settled(self, jobs: set[str]) -> bool:
        """Return whether it is up, has scraped targets of all these jobs, and no critical alert is pending or fires."""
        try:
            up = {one["labels"]["job"] for one in self._ask("targets")["activeTargets"] if one["health"] == "up"}
            severities = {alert["labels"]["severity"] for alert in self._ask("alerts")["alerts"]}
        except StackError:
            return False
        return jobs <= up and "critical" not in severities

    def value(self, expression: str) -> float | None:
        """Return the newest value of an expression's first series; None while it has no series."""
        found = self._ask("query", query=expression)["result"]
        return float(found[0]["value"][1]) if found else None

    def ranges(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """Return an expression's series between two moments, a value every `step` seconds."""
        found = self._ask("query_range", query=expression, start=start, end=end, step=step)["result"]
        return [
            Series(one["metric"], [float(at) for at, _ in one["values"]], [float(value) for _, value in one["values"]])
            for one in found
        ]

    def metrics(self) -> set[str]:
        """Return the names of all series that were ever scraped or recorded."""
        return set(self._ask("label/__name__/values"))

    def labels(self, metric: str) -> set[str]:
        """Return the labels that a metric's series have."""
        return {label for one in self._ask("series", **{"match[]": metric}) for label in one}

    def _ask(self, question: str, **parameters: Any) -> Any:  # noqa: ANN401 - JSON
        try:
            answer = httpx.get(f"{self.url}/api/v1/{question}", params=parameters, timeout=10, trust_env=False)
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:  # while it starts it answers in plain text
            raise StackError(f"Prometheus does not answer: {error}") from error
        if answer.is_error:
            raise StackError(f"Prometheus refuses {parameters.get('query', question)}: {body['error']}")
        return body["data"]
