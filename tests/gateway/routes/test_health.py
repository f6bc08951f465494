from __future__ import annotations

import asyncio
from io import BytesIO

import httpx
import pytest
from PIL import Image
from starlette.testclient import TestClient

from gateway.settings import Settings
from tests.gateway.conftest import OpenClient
from tests.gateway.fakes import VERDICT, BareClient, TorchServe, multipart, picture, upload

FILES = {"file": upload(picture("JPEG"))}


@pytest.mark.parametrize("path", ["/health", "/v1/health"])
def test_healthy_is_the_documented_body(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    uptime = answer.json()["uptime_seconds"]
    assert 0 <= uptime < 60
    assert answer.text == (
        '{"status":"healthy","model_loaded":true,"model_version":"1.0.0",'
        f'"uptime_seconds":{uptime},"active_requests":0,"drift_detected":false,"predictions_total":0}}'
    )


def test_unhealthy_has_the_same_fields(client: TestClient, torchserve: TorchServe) -> None:
    torchserve.down()
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json() | {"uptime_seconds": 0.0} == {
        "status": "unhealthy",
        "model_loaded": False,
        "model_version": "unknown",
        "uptime_seconds": 0.0,
        "active_requests": 0,
        "drift_detected": False,
        "predictions_total": 0,
    }


def test_what_predictions_mean_is_told_when_asked_for(client: TestClient, torchserve: TorchServe) -> None:
    rates = {"base_rate": 0.1876, "true_positive_rate": 0.342, "false_positive_rate": None}
    model = rates | {"operating_point": "false_alarms_5"}
    torchserve.always(200, VERDICT | {"model": model})
    answer = client.get("/health?include=model")
    assert (answer.status_code, answer.json()["model"]) == (200, model)
    assert "model" not in client.get("/health").json()
    assert client.post("/predict", files=FILES).json().keys() == VERDICT.keys() | {"inference_time_ms"}


def test_predictions_are_counted_and_probes_are_not(client: TestClient) -> None:
    client.post("/predict", files=FILES)
    client.post("/predict/explain", files=FILES)
    client.post("/predict/batch", files=[("files", FILES["file"])] * 3 + [("files", upload(picture("GIF")))])
    client.post("/predict", files={"file": upload(b"no image")})
    client.get("/readyz")
    assert client.get("/health").json()["predictions_total"] == 5


@pytest.mark.anyio
async def test_requests_being_served_are_active(open_client: OpenClient, torchserve: TorchServe) -> None:
    client = open_client()
    counts: list[int] = []
    bare = BareClient(client.app, "/predict", [multipart("file", picture("JPEG"))])  # type: ignore[arg-type]

    async def predict(_: httpx.Request) -> httpx.Response:
        counts.append(bare.services.activity.active_requests)
        return httpx.Response(200, json=VERDICT)

    torchserve.handler = predict
    await bare.run()
    counts.append(bare.services.activity.active_requests)
    assert counts == [1, 0]


def test_alive_whatever_the_model_does(client: TestClient, torchserve: TorchServe) -> None:
    torchserve.down()
    answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, '{"alive":true}')
    assert torchserve.requests == []


def test_ready_means_a_real_inference(client: TestClient, torchserve: TorchServe) -> None:
    assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (200, {"ready": True})
    probe = torchserve.requests[0]
    assert probe.url.path == "/predictions/product-photo-detector"
    assert probe.headers["x-request-id"] == "readiness"
    with Image.open(BytesIO(probe.content)) as image:
        assert (image.format, image.size) == ("JPEG", (32, 32))


@pytest.mark.parametrize("status", [401, 404, 422, 500, 503])
def test_not_ready_without_one(client: TestClient, torchserve: TorchServe, status: int) -> None:
    torchserve.always(status)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False})
    assert answer.headers["retry-after"] == "5"


def test_started_once_is_started_for_good(client: TestClient, torchserve: TorchServe) -> None:
    torchserve.always(503)
    answer = client.get("/startup")
    assert (answer.status_code, answer.json()) == (503, {"started": False})
    torchserve.handler = torchserve.predict
    answer = client.get("/startup")
    assert (answer.status_code, answer.json()) == (200, {"started": True})
    torchserve.always(503)
    assert client.get("/startup").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_probes_are_not_sent_more_often_than_the_cache_time(
    open_client: OpenClient, torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "readiness_cache_s", 60.0)
    client = open_client()
    torchserve.always(503)
    assert [client.get(path).status_code for path in ("/health", "/readyz", "/startup")] == [503, 503, 503]
    assert len(torchserve.requests) == 1
    torchserve.handler = torchserve.predict
    client.post("/predict", files=FILES)  # a client's request is as good as a probe
    assert client.get("/readyz").status_code == 200
    assert len(torchserve.requests) == 2


def test_a_probe_has_its_own_deadline(
    open_client: OpenClient, torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "readiness_timeout_s", 0.05)

    async def endless(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    torchserve.handler = endless
    assert open_client().get("/health").status_code == 503
