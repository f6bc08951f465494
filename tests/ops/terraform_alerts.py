"""The alerts and charts on Cloud Run's own metrics, filled in as Terraform does it, and stories that make each fire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Any

import yaml

from tests.ops.terraform_files import FOLDER, read

MONITORING = FOLDER / "modules" / "monitoring"
OF_SERVICE = 'monitored_resource="cloud_run_revision", service_name="product-photo-detector"'
METRICS = {
    "run_googleapis_com:container_cpu_utilizations_bucket": {"le"},
    "run_googleapis_com:container_instance_count": {"state"},
    "run_googleapis_com:container_memory_utilizations_bucket": {"le"},
    "run_googleapis_com:request_count": {"response_code", "response_code_class"},
    "run_googleapis_com:request_latencies_bucket": {"le"},
    "logging_googleapis_com:user_model_server_trouble": {"cause"},
}
"""What Google documents under run.googleapis.com/, and our own metric of the log: PromQL's names and their labels."""


def filled(name: str) -> str:
    """A file of the module with the service and its bounds of instances, as in the manifest."""
    text = (MONITORING / name).read_text(encoding="utf-8")
    return Template(text).substitute(of_service=OF_SERVICE, min=1, max=4)


def rules() -> dict[str, dict[str, Any]]:
    """Every alert by its name."""
    return {rule["alert"]: rule for group in yaml.safe_load(filled("alerts.yaml"))["groups"] for rule in group["rules"]}


def charts() -> list[dict[str, Any]]:
    """Every chart of the dashboard."""
    found: list[dict[str, Any]] = yaml.safe_load(filled("panels.yaml"))
    return found


def checks() -> dict[str, dict[str, str]]:
    """Every uptime check by the name that its alert has, too."""
    [found] = [block["checks"] for block in read(MONITORING)["locals"] if "checks" in block]
    return dict(found)


@dataclass(frozen=True)
class Story:
    """Series at one sample a minute: at minute `quiet` the alert does not fire yet, at `firing` it does."""

    alert: str
    series: Mapping[str, str]
    quiet: int
    firing: int | None
    labels: Mapping[str, str] = field(default_factory=dict)


def requests(code: str) -> str:
    """The series of answers with a status."""
    answered = f'response_code="{code}", response_code_class="{code[0]}xx"'
    return f"run_googleapis_com:request_count{{{OF_SERVICE}, {answered}}}"


def instances(state: str) -> str:
    """The series of instances in a state."""
    return f'run_googleapis_com:container_instance_count{{{OF_SERVICE}, state="{state}"}}'


def buckets(metric: str, *bounds: str) -> list[str]:
    """The series of a distribution up to each bound."""
    return [f'{metric}_bucket{{{OF_SERVICE}, le="{bound}"}}' for bound in (*bounds, "+Inf")]


FAST, SLOW, ALL_LATENCIES = buckets("run_googleapis_com:request_latencies", "1000", "2000")
ROOMY, FULL, ALL_MEMORY = buckets("run_googleapis_com:container_memory_utilizations", "0.9", "1")
TROUBLE = f'logging_googleapis_com:user_model_server_trouble{{{OF_SERVICE}, cause="ConnectError"}}'

STORIES = (
    Story("NoInstance", {instances("active"): "1x9 0x20"}, quiet=14, firing=15),
    Story("NoInstance", {instances("idle"): "1x4 stale"}, quiet=9, firing=10),
    Story("NoInstance", {instances("active"): "0x60", instances("idle"): "1x60"}, quiet=60, firing=None),
    Story("ErrorBudgetBurnsFast", {requests("200"): "0+60x60", requests("503"): "0x9 0+10x50"}, quiet=10, firing=20),
    Story("ErrorBudgetBurnsFast", {requests("200"): "0+6x60", requests("503"): "0+0.1x60"}, quiet=60, firing=None),
    Story("ErrorBudgetBurnsSlowly", {requests("200"): "0+60x90", requests("503"): "0x9 0+3x80"}, quiet=10, firing=60),
    Story("ErrorBudgetBurnsSlowly", {requests("200"): "0+60x90", requests("404"): "0+60x90"}, quiet=90, firing=None),
    Story("ModelServerErrors", {TROUBLE: "0x9 0+2x30"}, quiet=13, firing=20, labels={"cause": "ConnectError"}),
    Story("SlowRequests", {FAST: "0+9x40", SLOW: "0+10x40", ALL_LATENCIES: "0+10x40"}, quiet=9, firing=15),
    Story("SlowRequests", {FAST: "0+10x40", SLOW: "0+10x40", ALL_LATENCIES: "0+10x40"}, quiet=40, firing=None),
    Story("AllInstancesInUse", {instances("active"): "3x9 4x30"}, quiet=19, firing=20),
    Story("AllInstancesInUse", {instances("active"): "3x60", instances("idle"): "1x60"}, quiet=60, firing=None),
    Story("MemoryHigh", {ROOMY: "0+1x40", FULL: "0+2x40", ALL_MEMORY: "0+2x40"}, quiet=9, firing=15),
    Story("MemoryHigh", {ROOMY: "0+2x40", FULL: "0+2x40", ALL_MEMORY: "0+2x40"}, quiet=40, firing=None),
    Story("UnknownKeys", {requests("401"): "0x9 0+120x40"}, quiet=15, firing=30),
    Story("RateLimitsHit", {requests("200"): "0+10x60", requests("429"): "0x9 0+20x50"}, quiet=20, firing=40),
)
