"""How pods are added and watched, by the metrics that the gateway writes and the rules that read them."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from gateway.metrics import Metrics, Snapshot
from gateway.settings import Settings
from stack.layout import ROOT
from tests.ops.kubernetes_manifests import PODS, VALUES, WRITTEN, errors, one
from tests.ops.promql import labels_of, metrics_of

SCALER = one(WRITTEN, "HorizontalPodAutoscaler", "gateway")["spec"]
METRICS = {each["type"]: each for each in SCALER["metrics"]}
ADAPTED = yaml.safe_load(VALUES.read_text(encoding="utf-8"))["rules"]["custom"]


@pytest.fixture(scope="module")
def series() -> set[str]:
    nothing = Snapshot(
        model_loaded=True,
        model_version=None,
        active_requests=0,
        queued_images=0,
        log_lines_dropped=0,
        drift_detected=False,
        drift_score=0,
        drift_window=0,
    )
    return set(re.findall(r"^(\w+)", Metrics("1").render(nothing).decode(), re.MULTILINE))


def test_pods_are_added_when_the_model_is_busy_or_images_wait(series: set[str]) -> None:
    assert SCALER["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gateway"}
    busy = METRICS["ContainerResource"]["containerResource"]
    assert "cpu" in PODS["gateway"].containers()[busy["container"]]["resources"]["requests"]
    assert busy["target"] == {"type": "Utilization", "averageUtilization": 60}
    waiting = METRICS["Pods"]["pods"]
    assert waiting["metric"]["name"] in series
    assert waiting["target"]["averageValue"] == str(Settings().backend_concurrency)


def test_the_adapter_serves_the_metric_that_the_autoscaler_asks_for(series: set[str]) -> None:
    [rule] = ADAPTED
    asked = METRICS["Pods"]["pods"]["metric"]["name"]
    assert metrics_of(rule["seriesQuery"]) == {asked}
    assert asked in series
    assert labels_of(rule["seriesQuery"]) == set(rule["resources"]["overrides"]) == {"namespace", "pod"}
    filled = {"<<.Series>>": asked, "<<.LabelMatchers>>": 'pod="a"', "<<.GroupBy>>": "pod"}
    query = re.sub(r"<<\.\w+>>", lambda found: filled[found[0]], rule["metricsQuery"])
    assert query == 'sum by (pod) (avg_over_time(aidetect_queued_images{pod="a"}[1m]))'


def test_prometheus_scrapes_as_the_rules_and_compose_have_it() -> None:
    scraped = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    jobs = {each["job_name"]: each for each in scraped["scrape_configs"]}
    endpoints = {}
    for endpoint in one(WRITTEN, "PodMonitor", "gateway")["spec"]["podMetricsEndpoints"]:
        [job] = endpoint["relabelings"]
        assert job["targetLabel"] == "job"
        endpoints[job["replacement"]] = endpoint
        [target] = jobs[job["replacement"]]["static_configs"][0]["targets"]
        assert PODS["gateway"].ports()[endpoint["port"]] == int(target.rpartition(":")[2])
        assert endpoint.get("scrapeTimeout") == jobs[job["replacement"]].get("scrape_timeout")
        assert endpoint["interval"] == scraped["global"]["scrape_interval"]
    assert set(endpoints) == {"gateway", "torchserve"}


def test_the_rules_are_printed_for_the_operator_and_lie_in_one_place() -> None:
    said = subprocess.run(["make", "--silent", "kubernetes-rules"], capture_output=True, text=True, check=True).stdout  # noqa: S607 - from PATH
    documents: list[Any] = list(yaml.safe_load_all(said))
    assert [error for document in documents for error in errors(document)] == []
    files = sorted((ROOT / "docker/prometheus/rules").glob("*.yml"))
    assert {each["metadata"]["name"]: each["spec"] for each in documents} == {
        f"product-photo-detector-{file.stem}": yaml.safe_load(file.read_text(encoding="utf-8")) for file in files
    }
