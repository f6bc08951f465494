from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.settings import Settings
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import VERDICT, BareClient, TorchServe, multipart, picture, upload

JPEG = picture("JPEG")


@pytest.fixture(params=["", "/v1"], ids=["unversioned", "v1"])
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.context.elapsed_ms", lambda _: 45.2)


@pytest.mark.usefixtures("_stopped_clock")
def test_predict_answers_the_documented_bytes(client: TestClient, prefix: str) -> None:
    answer = client.post(f"{prefix}/predict", files={"file": upload(JPEG)})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == (
        '{"prediction":"ai_generated","probability":0.87,"confidence":"high",'
        '"inference_time_ms":45.2,"model_version":"1.0.0"}'
    )


@pytest.mark.usefixtures("_stopped_clock")
def test_explain_answers_the_documented_bytes(client: TestClient, torchserve: TorchServe, prefix: str) -> None:
    answer = client.post(f"{prefix}/predict/explain", files={"file": upload(JPEG)})
    assert answer.status_code == 200
    assert answer.text == (
        '{"prediction":"ai_generated","probability":0.87,"confidence":"high","heatmap_base64":"/9j/4AAQ",'
        '"inference_time_ms":45.2,"model_version":"1.0.0"}'
    )
    assert [request.url.path for request in torchserve.requests] == ["/explanations/product-photo-detector"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO"])
def test_the_model_server_gets_the_bytes_unchanged(client: TestClient, torchserve: TorchServe, kind: str) -> None:
    data = picture(kind)
    client.post("/predict", files={"file": upload(data)}, headers={"X-Request-ID": "order 66"})
    (request,) = torchserve.requests
    assert request.method == "POST"
    assert str(request.url) == "http://127.0.0.1:8085/predictions/product-photo-detector"
    assert request.content == data
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.headers["x-request-id"] == "order 66"
    assert "authorization" not in request.headers


def test_time_counts_queueing(open_client: OpenClient, torchserve: TorchServe) -> None:
    async def slow(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.1)
        return httpx.Response(200, json=VERDICT)

    torchserve.handler = slow
    client = open_client(backend_concurrency=1)
    body = client.post("/predict/batch", files=[("files", upload(JPEG))] * 3).json()
    assert 300 <= body["total_inference_time_ms"] < 1000


def test_the_log_line_carries_the_prediction(client: TestClient, log_lines: LogLines) -> None:
    client.post("/predict", files={"file": upload(JPEG, "secret-name.jpg")})
    (line,) = log_lines()
    assert line.items() >= {"prediction": "ai_generated", "probability": 0.87, "model_version": "1.0.0"}.items()
    assert "secret-name" not in str(line)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "field", "calls"),
    [("/predict", "file", 1), ("/predict/batch", "files", 1), ("/predict/compare", "file", 2)],
)
async def test_a_client_that_leaves_cancels_the_work(path: str, field: str, calls: int, log_lines: LogLines) -> None:
    cancelled: list[str] = []
    torchserve = TorchServe()
    bare: BareClient

    async def endless(_: httpx.Request) -> httpx.Response:
        if len(torchserve.requests) == calls:
            bare.hang_up.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append("upstream call")
            raise
        raise AssertionError

    torchserve.handler = endless
    app = create_app(Settings(shadow_version="2.0"), torchserve.transport())
    bare = BareClient(app, path, [multipart(field, JPEG)])
    await asyncio.wait_for(bare.run(), 5)
    assert cancelled == ["upstream call"] * calls
    assert [line["status"] for line in log_lines()] == [499]


@pytest.mark.anyio
async def test_a_client_that_leaves_while_sending_is_no_error_and_counted(log_lines: LogLines) -> None:
    bare = BareClient(create_app(Settings(), TorchServe().transport()), "/predict", [])
    bare.hang_up.set()
    await bare.run()
    assert [(line["event"], line["status"]) for line in log_lines()] == [("request", 499)]
    labels = {"method": "POST", "endpoint": "/predict", "status": "499"}
    assert bare.services.metrics.registry.get_sample_value("http_requests_total", labels) == 1
