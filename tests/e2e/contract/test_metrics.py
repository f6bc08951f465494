"""The metrics: the documented names, types and labels."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.e2e.contract.claims import Ask
from tests.e2e.contract.gateways import KEYS, Gateways
from tests.e2e.contract.scraping import BATCH, EXPLAIN, GIF, JUDGED, PREDICT, REFUSED, samples, scrape, total
from tests.e2e.contract.shipped import VERSION

TABLE = [
    ("aidetect_predictions_total", "counter", {"status", "prediction", "confidence"}),
    ("aidetect_prediction_latency_seconds", "histogram", set()),
    ("aidetect_prediction_probability", "histogram", set()),
    ("aidetect_batch_predictions_total", "counter", {"status"}),
    ("aidetect_batch_size", "histogram", set()),
    ("aidetect_batch_latency_seconds", "histogram", set()),
    ("aidetect_image_validation_errors_total", "counter", {"type"}),
    ("aidetect_model_loaded", "gauge", set()),
    ("aidetect_request_size_bytes", "histogram", {"endpoint"}),
    ("aidetect_response_size_bytes", "histogram", {"endpoint"}),
    ("http_request_duration_seconds", "histogram", {"method", "endpoint"}),
    ("http_requests_total", "counter", {"method", "endpoint", "status"}),
    ("aidetect_drift_score", "gauge", set()),
    ("aidetect_drift_detected", "gauge", set()),
    ("aidetect_rate_limited_total", "counter", {"endpoint"}),
    ("aidetect_backend_errors_total", "counter", {"cause"}),
    ("aidetect_active_requests", "gauge", set()),
]


@pytest.fixture(scope="module")
def busy(gateways: Gateways) -> str:
    """What a gateway exposes once it has seen each kind of request."""
    for ask in (PREDICT, EXPLAIN, REFUSED, BATCH):
        ask.send(gateways)
    return scrape(gateways)


@pytest.mark.parametrize(("name", "kind", "labels"), TABLE, ids=[name for name, *_ in TABLE])
def test_the_documented_metric_has_its_type_and_labels(
    busy: str, gateways: Gateways, name: str, kind: str, labels: set[str]
) -> None:
    text = scrape(gateways, "proxied") if "rate_limited" in name else busy
    assert re.findall(rf"^# TYPE {name} (\w+)$", text, re.MULTILINE) == [kind]
    own = {"le"} if kind == "histogram" else set()
    series = f"{name}_bucket" if kind == "histogram" else name
    found: list[Any] = [set(each) for sample, each, _ in samples(text) if sample == series]
    assert found == [labels | own] * len(found)
    assert found or "rate_limited" in name


def test_nothing_is_declared_that_is_never_written(gateways: Gateways, busy: str) -> None:
    texts = [busy, *(scrape(gateways, name) for name in ("proxied", "small"))]
    declared = {name for text in texts for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)}
    written = {re.sub(r"_(bucket|count|sum)$", "", name) for text in texts for name, *_ in samples(text)}
    assert declared - written - {name for text in texts for name, *_ in samples(text)} == set()


@pytest.mark.parametrize(("gateway", "loaded"), [("open", 1), ("down", 0), ("unloaded", 0), ("waiting", 0)])
def test_model_loaded_follows_the_model_server(gateways: Gateways, gateway: str, loaded: int) -> None:
    text = scrape(gateways, gateway)
    assert total(text, "aidetect_model_loaded", {}) == loaded
    assert total(text, "aidetect_model_info", {"version": VERSION if loaded else "none"}) == 1


def test_health_counts_the_predictions_that_the_metrics_count(gateways: Gateways, mount: str) -> None:
    client = gateways.clients["open"]
    before = client.get(f"{mount}/health").json()["predictions_total"]
    BATCH.send(gateways, mount)
    after = client.get(f"{mount}/health").json()["predictions_total"]
    assert after - before == 2
    assert after == total(scrape(gateways), "aidetect_predictions_total", JUDGED)


def test_no_key_and_no_file_name_gets_into_a_metric(gateways: Gateways) -> None:
    files = [("file", ("a-private-name.jpg", GIF))]
    Ask("POST", "/predict?a-private-name=1", "keyed", {"X-API-Key": KEYS[3]}, files).send(gateways)
    text = scrape(gateways, "keyed")
    assert [secret for secret in (*KEYS, "row-key", "a-private-name") if secret in text] == []
