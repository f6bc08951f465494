"""`make monitoring-demo`: drift fires its alert in a real Prometheus, and rules and dashboards name what it scraped."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from PIL import Image

from benchmarks.dashboards import ALERT
from benchmarks.prometheus import Prometheus
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
    picture: Path
    prometheus: Prometheus


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("monitoring")
    picture = folder / "picture.png"
    command = [sys.executable, "-m", "benchmarks.drift_demo", "--serve", f"--minute={MINUTE_MS}", "--calm=2"]
    with subprocess.Popen(
        [*command, f"--var={folder}", f"--picture={picture}"],
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
            yield Demo(said, picture, Prometheus(found[1]))
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
    now = time.time()
    (fired,) = demo.prometheus.ranges(f'ALERTS{{alertname="{ALERT}", alertstate="firing"}}', now - 300, now, 1)
    assert fired.labels["severity"] == "warning"


def test_the_picture_has_data_in_every_panel_but_those_of_the_shadow_version(demo: Demo) -> None:
    assert "; without data: Shadow: difference, Shadow: time to a verdict\n" in demo.said
    with Image.open(demo.picture) as picture:
        assert picture.size == (1620, 1395)
        assert len(picture.getcolors() or ()) > 30


def test_every_metric_of_rules_and_dashboards_was_scraped_and_what_rules_record_is_there(demo: Demo) -> None:
    named = {name for expression in [*PANELS, *(rule["expr"] for rule in RULES)] for name in NAME.findall(expression)}
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    none((named | recorded) - demo.prometheus.metrics(), of=named)
