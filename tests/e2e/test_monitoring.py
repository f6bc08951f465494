"""`make monitoring-demo`: drift fires its alert in a real Prometheus, and rules and dashboards name what it scraped."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from benchmarks.drift_demo import ALERT, Prometheus
from deploy.layout import ROOT
from tests.checks import none
from tests.deploy.test_alerts import PANELS, RULES
from tests.deploy.test_supervisor import alive

MINUTE_MS = 200
"""The 15 minutes of the drift alert are three seconds."""
STORY = [
    "the drift window is full of ordinary images",
    f"{ALERT} is pending",
    f"{ALERT} is firing",
    f"{ALERT} is resolved",
]

NAME = re.compile(r"\b(?:(?:aidetect|http_request|process|job)[\w:]+|[A-Z]\w+(?=[{\[]))")

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")


@dataclass(frozen=True)
class Demo:
    """The demo at its end, with everything still running."""

    said: str
    prometheus: Prometheus


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("monitoring")
    command = [sys.executable, "-m", "benchmarks.drift_demo", "--serve", f"--minute={MINUTE_MS}", "--calm=2"]
    with subprocess.Popen(
        [*command, f"--var={folder}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said = _until_it_serves(process)
            found = re.search(r"^Prometheus +(http://\S+)/alerts$", said, re.MULTILINE)
            assert found, said
            started = psutil.Process(process.pid).children(recursive=True)
            yield Demo(said, Prometheus(found[1]))
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert len(started) >= 5  # JVM, two workers, gateway, Prometheus
    none((one for one in started if alive(one)), of=started)


def _until_it_serves(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "Ctrl-C" in line:
            break
    return "".join(said)


def test_drift_makes_the_alert_pending_then_firing_and_usual_photos_end_it(demo: Demo) -> None:
    told = re.findall(r"^ *(\d+) s  (.+): window 60, drift score ([\d.]+), alert (\w+)$", demo.said, re.MULTILINE)
    assert [what for _, what, _, _ in told] == STORY
    assert [state for *_, state in told] == ["inactive", "pending", "firing", "inactive"]
    assert [float(score) > 1 for _, _, score, _ in told] == [False, True, True, False]
    assert demo.prometheus.query(
        f'last_over_time(ALERTS{{alertname="{ALERT}", alertstate="firing", severity="warning"}}[5m])'
    )


def test_every_panel_but_those_of_the_shadow_version_has_data(demo: Demo) -> None:
    none((panel for panel in PANELS if "shadow" not in panel and not _has_numbers(demo, panel)), of=PANELS)


def _has_numbers(demo: Demo, panel: str) -> bool:
    found = demo.prometheus.query(f"max_over_time(({panel})[5m:1s])")
    return any(one["value"][1] != "NaN" for one in found)


def test_every_metric_of_rules_and_dashboards_was_scraped_and_what_rules_record_is_there(demo: Demo) -> None:
    named = {name for expression in [*PANELS, *(rule["expr"] for rule in RULES)] for name in NAME.findall(expression)}
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    scraped = {one["metric"]["__name__"] for one in demo.prometheus.query('last_over_time({__name__=~".+"}[5m])')}
    none((named | recorded) - scraped, of=named)
