"""Drift in quick motion: usual photos, odd ones until the alert fires, usual ones again until it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stack.layout import StackError
from stack.monitoring.api import AlertState, Prometheus
from stack.monitoring.traffic import Traffic

ALERT: Final = "DriftDetected"
SETTINGS: Final[Mapping[str, str]] = {
    "API_KEYS": "",
    "REQUIRE_AUTH": "false",
    "GATEWAY_PREDICT_RATE": "100000",
    "GATEWAY_BATCH_RATE": "100000",
    "GATEWAY_EXPLAIN_RATE": "5",  # so that some are over it
    "GATEWAY_DRIFT_FILE": ".",
    "GATEWAY_DRIFT_WINDOW": "60",
    "GATEWAY_DRIFT_MIN_SAMPLES": "40",
    "GATEWAY_DRIFT_FALSE_ALARM_RATE": "0.001",
}
"""The gateway's settings: a drift window that fills in seconds."""
PATIENCE_S: Final = 120
POLL_S: Final = 0.5
Report = Callable[[str], None]


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
        moments = [self._when(self._is_full, "the drift window is full of usual photos")]
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
