"""`make monitoring-demo`: drift fires its alert in a real Prometheus, and rules and dashboards name what it scraped."""

from __future__ import annotations

import io
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace

import httpx
import pytest

from benchmarks import drift_demo
from benchmarks.drift_demo import ALERT, SETTINGS, Prometheus
from deploy.layout import Layout, Ports
from deploy.local.stack import LocalStack
from deploy.local.supervisor import Supervisor
from tests.checks import none
from tests.deploy.test_alerts import PANELS, RULES
from tests.e2e.processes import running_gateway

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
def demo(stack: LocalStack, torchserve: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The whole demo with a gateway and a Prometheus of its own, but the TorchServe that is there."""
    folder = tmp_path_factory.mktemp("monitoring")
    with Supervisor(folder, stack.layout.environment()) as supervisor:

        @contextmanager
        def running(layout: Layout, _: Ports, *, page: bool, settings: dict[str, str]) -> Iterator[LocalStack]:
            assert (layout.var, page, settings) == (folder, False, SETTINGS)
            yield LocalStack(layout, replace(stack.ports, gateway=httpx.URL(gateway.url).port or 0), supervisor)

        words = ["drift_demo", "--minute=200", "--calm=0", f"--var={folder}"]  # 15 minutes are three seconds
        with (
            running_gateway(folder / "gateway.log", **torchserve | dict(SETTINGS)) as gateway,
            redirect_stdout(io.StringIO()) as out,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(drift_demo, "running", running)
            patch.setattr(drift_demo, "STEADY", "5s")
            patch.setattr(sys, "argv", words)
            drift_demo.main()
        said = out.getvalue()
        found = re.search(r"^Prometheus +(http://\S+)/alerts$", said, re.MULTILINE)
        assert found, said
        yield Demo(said, Prometheus(found[1]))


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
