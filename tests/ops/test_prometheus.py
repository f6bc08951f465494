"""Prometheus's configuration and rules, by promtool and by what they promise to whoever is woken."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.layout import ROOT
from tests.ops.alert_cases import CALM, CASES, Calm, Case
from tests.ops.headings import anchors
from tests.ops.promtool import PROMETHEUS, RULES, alerts, all_rules, needs_promtool, promtool


def play(folder: Path, series: dict[str, str], checks: list[dict[str, Any]]) -> None:
    file = folder / "test.yml"
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    story = {"interval": "1m", "input_series": inputs, "alert_rule_test": checks}
    file.write_text(yaml.safe_dump({"rule_files": [str(rules) for rules in RULES], "tests": [story]}))
    promtool("test", "rules", file)


@needs_promtool
def test_promtool_accepts_the_configuration_and_all_rules() -> None:
    said = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert f"SUCCESS: {len(RULES)} rule files found" in said
    counts = [int(count) for count in re.findall(r"SUCCESS: (\d+) rules found", said)]
    assert sum(counts) == len(all_rules())


@needs_promtool
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{case.firing}")
def test_an_alert_fires_when_it_should_and_not_before(tmp_path: Path, case: Case) -> None:
    rule = alerts()[case.alert]
    fired = {
        "exp_labels": {**case.labels, **rule["labels"]},
        "exp_annotations": {**rule["annotations"], "description": case.says},
    }
    expected: list[tuple[int, list[dict[str, Any]]]] = [(case.quiet, []), (case.firing, [fired])]
    checks = [
        {"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": alerting} for minute, alerting in expected
    ]
    play(tmp_path, dict(case.series), checks)


@needs_promtool
@pytest.mark.parametrize("calm", CALM, ids=lambda calm: f"{calm.alert}-{calm.why}")
def test_an_alert_stays_quiet_when_nobody_is_needed(tmp_path: Path, calm: Calm) -> None:
    minutes = (15, 30, 45, 60, 90)
    play(
        tmp_path,
        dict(calm.series),
        [{"eval_time": f"{minute}m", "alertname": calm.alert, "exp_alerts": []} for minute in minutes],
    )


def test_every_alert_has_a_case_and_a_name_of_its_own() -> None:
    names = [rule["alert"] for rule in all_rules() if "alert" in rule]
    assert {name for name, count in Counter(names).items() if count > 1} == set()
    assert {case.alert for case in CASES} == set(names)


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_where_help_stands(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    page, _, section = rule["annotations"]["runbook"].partition("#")
    assert section in anchors(ROOT / page)
