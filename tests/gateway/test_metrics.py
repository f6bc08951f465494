from __future__ import annotations

import re
import shutil
import subprocess

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from gateway.settings import Settings
from tests.gateway.conftest import OpenClient
from tests.gateway.fakes import VERDICT, TorchServe, picture, upload

JPEG = {"file": upload(picture("JPEG"))}
GIF = {"file": upload(picture("GIF"))}

REFERENCE_TABLE = {
    "aidetect_predictions_total": "counter",
    "aidetect_prediction_latency_seconds": "histogram",
    "aidetect_prediction_probability": "histogram",
    "aidetect_batch_predictions_total": "counter",
    "aidetect_batch_size": "histogram",
    "aidetect_batch_latency_seconds": "histogram",
    "aidetect_image_validation_errors_total": "counter",
    "aidetect_model_loaded": "gauge",
    "aidetect_request_size_bytes": "histogram",
    "aidetect_response_size_bytes": "histogram",
    "http_request_duration_seconds": "histogram",
    "http_requests_total": "counter",
}


def scrape(client: TestClient) -> dict[tuple[str, tuple[str, ...]], float]:
    return parsed(client.get("/metrics").text)


def parsed(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Each sample's value by its name and its labels' values, in the order of the labels' names."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def declared(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


@pytest.fixture
def busy(open_client: OpenClient, torchserve: TorchServe) -> TestClient:
    """A gateway that has seen requests of every kind."""
    client = open_client(explain_rate=1, shadow_version="2.0", shadow_fraction=1)
    client.post("/predict", files=JPEG)
    client.post("/predict", files=GIF)
    client.post("/predict/batch", files=[("files", JPEG["file"]), ("files", GIF["file"])])
    client.post("/predict/explain", files=JPEG)
    client.post("/predict/explain", files=JPEG)  # over its rate
    client.get("/drift")
    client.get("/nothing")
    torchserve.always(500)
    client.post("/predict", files=JPEG)
    client.post("/predict/batch", files=[("files", JPEG["file"])])
    torchserve.handler = torchserve.predict
    return client


def test_the_references_table_is_there_with_its_types(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert declared(answer.text).items() >= REFERENCE_TABLE.items()


def test_nothing_is_declared_that_is_never_written(busy: TestClient) -> None:
    text = busy.get("/metrics").text
    written = {sample[0] for sample, value in scrape(busy).items() if value > 0}
    idle = {"aidetect_active_requests", "aidetect_queued_images", "aidetect_drift_detected", "aidetect_drift_score"}
    # `test_connections` and `test_main` have the attacks and the full disk that move these.
    idle |= {"aidetect_resource_limit_total", "aidetect_log_lines_dropped_total"}
    for name, kind in declared(text).items():
        if name not in idle:
            assert (f"{name}_count" if kind == "histogram" else name) in written
    assert idle <= {sample[0] for sample in scrape(busy)}


def test_predictions_by_status_class_and_confidence(busy: TestClient) -> None:
    found = scrape(busy)
    predictions = {labels: value for (name, labels), value in found.items() if name == "aidetect_predictions_total"}
    assert predictions == {("high", "ai_generated", "success"): 3, ("none", "none", "error"): 2}
    assert found["aidetect_prediction_latency_seconds_count", ()] == 3
    assert found["aidetect_prediction_probability_bucket", ("0.8",)] == 0
    assert found["aidetect_prediction_probability_bucket", ("0.9",)] == 3


def test_an_image_that_the_model_server_refuses_is_no_error_of_the_service(
    client: TestClient, torchserve: TorchServe
) -> None:
    torchserve.always(422, {"code": "corrupt_image"})
    client.post("/predict", files=JPEG)
    found = scrape(client)
    assert found["aidetect_predictions_total", ("none", "none", "invalid")] == 1
    assert found["aidetect_image_validation_errors_total", ("corrupt_image",)] == 1


def test_batches_and_rate_limit_rejections(busy: TestClient) -> None:
    found = scrape(busy)
    assert found["aidetect_rate_limited_total", ("/predict/explain",)] == 1
    assert found["aidetect_batch_predictions_total", ("success",)] == 1
    assert found["aidetect_batch_predictions_total", ("error",)] == 1
    assert found["aidetect_batch_size_sum", ()] == 3
    assert found["aidetect_batch_latency_seconds_count", ()] == 2


def test_refused_images_by_type(open_client: OpenClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "max_form_overhead_bytes", 1000)
    client = open_client(max_file_bytes=2000)
    contents = [b"", picture("GIF"), picture("PNG")[:20], picture("JPEG", (9, 9)), bytes(2500), bytes(5000)]
    for data in contents:
        client.post("/predict", files={"file": upload(data)})
    client.post("/predict/batch", files=[("files", upload(data)) for data in contents[:-1]])
    found = scrape(client)
    assert {labels[0]: value for (name, labels), value in found.items() if "validation" in name} == {
        "empty_file": 2,
        "invalid_image_format": 2,
        "corrupt_image": 2,
        "invalid_image_dimensions": 2,
        "file_too_large": 3,
    }


def test_requests_are_counted_by_route_template(client: TestClient) -> None:
    for path in ("/healthz", "/v1/healthz", "/a", "/b/c", "/v1/a", "/v1", "/v1/", "/docs/docs.js", "/docs/none"):
        client.get(path)
    client.request("BREW", "/healthz")
    client.put("/predict")
    found = scrape(client)
    assert {labels: value for (name, labels), value in found.items() if name == "http_requests_total"} == {
        ("/healthz", "GET", "200"): 2,
        ("/healthz", "other", "405"): 1,
        ("/", "GET", "200"): 2,
        ("/docs/{path:path}", "GET", "200"): 1,
        ("/docs/{path:path}", "GET", "404"): 1,
        ("/predict", "PUT", "405"): 1,
        ("unmatched", "GET", "404"): 3,
    }
    assert found["http_request_duration_seconds_count", ("/healthz", "GET")] == 2


def test_a_proxys_prefix_is_no_part_of_the_template(client: TestClient) -> None:
    with TestClient(client.app, root_path="/images") as below:
        below.get("/images/healthz")
        below.get("/images/v1/healthz")
        assert scrape(below)["http_requests_total", ("/healthz", "GET", "200")] == 2


def test_sizes_of_bodies(client: TestClient) -> None:
    answer = client.post("/predict", files=JPEG)
    found = scrape(client)
    length = float(answer.request.headers["content-length"])
    assert found["aidetect_request_size_bytes_sum", ("/predict",)] == length
    assert found["aidetect_response_size_bytes_sum", ("/predict",)] == len(answer.content)


def test_histograms_tell_apart_what_may_come(client: TestClient) -> None:
    client.get("/healthz")
    edges: dict[str, list[float]] = {}
    for name, edge in re.findall(r'^(\w+)_bucket{.*le="(\d[^"]*)"', client.get("/metrics").text, re.MULTILINE):
        edges.setdefault(name, []).append(float(edge))
    assert edges["http_request_duration_seconds"][-6:] == [1, 2.5, 5, 10, 20, 30]
    assert edges["aidetect_request_size_bytes"] == [4**power for power in range(4, 14)]
    assert edges["aidetect_batch_size"] == [1, 2, 3, 5, 8, 10]


@pytest.mark.parametrize(
    ("error", "cause"),
    [(httpx.ConnectError, "connection"), (httpx.ReadError, "connection"), (TimeoutError, "timeout")],
)
def test_backend_errors_by_cause(
    client: TestClient, torchserve: TorchServe, error: type[Exception], cause: str
) -> None:
    async def fail(_: httpx.Request) -> httpx.Response:
        raise error("trouble")

    torchserve.handler = fail
    client.post("/predict", files=JPEG)
    torchserve.handler = torchserve.predict
    found = {labels: value for (name, labels), value in scrape(client).items() if "backend_errors" in name and value}
    assert found == {(cause,): 1}


def test_gauges_follow_the_model_server(client: TestClient, torchserve: TorchServe) -> None:
    torchserve.down()
    found = scrape(client)
    assert (found["aidetect_model_loaded", ()], found["aidetect_model_info", ("none",)]) == (0, 1)
    torchserve.handler = torchserve.predict
    found = scrape(client)
    assert (found["aidetect_model_loaded", ()], found["aidetect_model_info", ("1.0.0",)]) == (1, 1)
    torchserve.always(200, VERDICT | {"model_version": "2.0.0"})
    found = scrape(client)
    assert [labels for name, labels in found if name == "aidetect_model_info"] == [("2.0.0",)]


def test_no_name_key_or_content_gets_into_metrics(client: TestClient) -> None:
    files = {"file": upload(picture("JPEG"), "secret.jpg")}
    client.post("/predict?secret=1", files=files, headers={"X-API-Key": "secret"})
    client.get("/secret")
    assert "secret" not in client.get("/metrics").text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_wrong(busy: TestClient) -> None:
    text = busy.get("/metrics").text
    checked = subprocess.run(
        [shutil.which("promtool") or "", "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
