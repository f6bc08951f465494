"""The alerts on Cloud Run's own metrics: by promtool, and beside those of Prometheus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.layout import ROOT
from tests.ops.headings import anchors
from tests.ops.promql import labels_of, metrics_of
from tests.ops.promtool import alerts, needs_promtool, promtool
from tests.ops.terraform_alerts import METRICS, MONITORING, OF_SERVICE, STORIES, Story, charts, checks, filled, rules
from tests.ops.terraform_files import read

EXPRESSIONS = [rule["expr"] for rule in rules().values()] + [chart["expr"] for chart in charts()]


@needs_promtool
def test_promtool_reads_all_rules(tmp_path: Path) -> None:
    file = tmp_path / "alerts.yaml"
    file.write_text(filled("alerts.yaml"), encoding="utf-8")
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", file)


@needs_promtool
@pytest.mark.parametrize("story", STORIES, ids=lambda story: f"{story.alert}-{story.firing}")
def test_an_alert_fires_when_it_should_and_not_before(tmp_path: Path, story: Story) -> None:
    rule = rules()[story.alert]
    fired = [{"exp_labels": {**story.labels, **rule["labels"]}, "exp_annotations": rule["annotations"]}]
    wanted: list[tuple[int, list[dict[str, Any]]]] = [(story.quiet, [])]
    if story.firing:
        wanted.append((story.firing, fired))
    told = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in story.series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": story.alert, "exp_alerts": alerting} for minute, alerting in wanted
        ],
    }
    (tmp_path / "alerts.yaml").write_text(filled("alerts.yaml"), encoding="utf-8")
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["alerts.yaml"], "tests": [told]}))
    promtool("test", "rules", tmp_path / "test.yaml")


def test_every_alert_has_a_story_in_which_it_fires() -> None:
    assert {story.alert for story in STORIES if story.firing} == set(rules())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_only_metrics_and_labels_of_cloud_run_are_asked_for_and_of_this_service(expression: str) -> None:
    metrics = metrics_of(expression) - {"vector"}
    assert metrics <= set(METRICS)
    known = {label for metric in metrics for label in METRICS[metric]} | {"monitored_resource", "service_name"}
    assert labels_of(expression) <= known
    selectors = re.findall(r"\{([^}]*)\}", expression)
    assert [one for one in selectors if not one.startswith(OF_SERVICE)] == []


def test_an_alert_with_the_name_of_one_of_prometheus_is_as_severe_and_as_patient() -> None:
    shared = set(rules()) & set(alerts())
    assert shared == {
        "ErrorBudgetBurnsFast",
        "ErrorBudgetBurnsSlowly",
        "ModelServerErrors",
        "RateLimitsHit",
        "UnknownKeys",
    }
    for name in shared:
        ours, theirs = rules()[name], alerts()[name]
        assert (ours["labels"], ours.get("for")) == (theirs["labels"], theirs.get("for"))
        assert ours["annotations"]["runbook"] == theirs["annotations"]["runbook"]


def test_the_uptime_checks_are_named_and_as_severe_and_patient_as_prometheus_alerts() -> None:
    for name, check in checks().items():
        theirs = alerts()[name]
        assert check["severity"].lower() == theirs["labels"]["severity"]
        assert int(check["duration"].removesuffix("s")) == 60 * int(theirs["for"].removesuffix("m"))
        assert theirs["annotations"]["runbook"] in check["says"]


def test_waits_are_whole_minutes_which_is_what_the_module_reckons_with() -> None:
    assert [rule["for"] for rule in rules().values() if not re.fullmatch(r"\d+m", rule.get("for", "0m"))] == []


@pytest.mark.parametrize("name", rules())
def test_an_alert_says_where_help_stands(name: str) -> None:
    page, _, section = rules()[name]["annotations"]["runbook"].partition("#")
    assert section in anchors(ROOT / page)


def test_the_metric_of_the_log_counts_an_event_that_the_gateway_logs() -> None:
    [metric] = [inside["model_server_trouble"] for inside in _resources("google_logging_metric")]
    assert metric["name"] == "model_server_trouble"
    [event] = re.findall(r'jsonPayload\.event="(\w+)"', metric["filter"])
    source = (ROOT / "gateway/model_server/backend.py").read_text(encoding="utf-8")
    assert f'"{event}"' in source
    assert "cause=cause" in source
    assert metric["label_extractors"] == {"cause": "EXTRACT(jsonPayload.cause)"}


def _resources(kind: str) -> list[dict[str, Any]]:
    return [block[kind] for block in read(MONITORING)["resource"] if kind in block]
