"""Alerts and dashboards by Prometheus's own checker, and by the metrics that the gateway writes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.layout import ROOT
from gateway.metrics import Metrics
from tests.checks import none
from tests.deploy.alert_cases import CALM, CASES

PROMETHEUS = ROOT / "docker/prometheus"
FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
RULES: list[dict[str, Any]] = [
    rule for file in FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
PANELS = [
    target["expr"].replace("$__rate_interval", "1m")
    for board in sorted((ROOT / "docker/grafana/dashboards").glob("*.json"))
    for panel in json.loads(board.read_text())["panels"]
    for target in panel["targets"]
]
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=200)  # noqa: S607 - the PATH's
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_promtool_accepts_the_configuration_and_all_rules() -> None:
    assert f"SUCCESS: {len(FILES)} rule files found" in promtool("check", "config", PROMETHEUS / "prometheus.yml")


@needs_promtool
def test_every_expression_of_the_dashboards_is_promql(tmp_path: Path) -> None:
    rules = [{"record": f"panel:number_{number}", "expr": each} for number, each in enumerate(PANELS)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"SUCCESS: {len(PANELS)} rules found" in promtool("check", "rules", file)


def story(alert: str, series: Mapping[str, str], fired: Mapping[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """What Prometheus evaluates all rules over, and what fires at which minute."""
    expected = [{"eval_time": f"{at}m", "alertname": alert, "exp_alerts": alerts} for at, alerts in fired.items()]
    given = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": given, "alert_rule_test": expected}


@pytest.mark.slow
@needs_promtool
def test_alerts_fire_when_they_should_and_stay_quiet_before_and_when_nobody_is_needed(tmp_path: Path) -> None:
    never: dict[int, list[dict[str, Any]]] = {minute: [] for minute in (15, 30, 45, 60, 90)}
    stories = [story(alert, series, never) for alert, series in CALM.values()]
    for case in CASES:
        rule = ALERTS[case.alert]
        labels, texts = {**case.labels, **rule["labels"]}, {**rule["annotations"], "description": case.says}
        fired = [{"exp_labels": labels, "exp_annotations": texts}]
        stories.append(story(case.alert, case.series, {case.quiet: [], case.firing: fired}))
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": list(map(str, FILES)), "tests": stories}))
    promtool("test", "rules", file)


def test_every_alert_has_a_story_and_a_runbook_that_is_there() -> None:
    assert {case.alert for case in CASES} == set(ALERTS)
    for rule in ALERTS.values():
        page, _, section = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert section in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_rules_and_dashboards_name_metrics_that_the_gateway_writes() -> None:
    """Prometheus takes any name, and an alert on one that nobody writes never fires."""
    written = set(re.findall(r"^# TYPE (\S+)", Metrics("1").render(None, 0).decode(), re.MULTILINE))
    named = set(re.findall(r"\b(?:aidetect|http_request)\w+", " ".join([*PANELS, *(rule["expr"] for rule in RULES)])))
    none((name for name in named if re.sub(r"_(bucket|count|sum)$", "", name) not in written), of=named)
