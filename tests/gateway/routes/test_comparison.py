from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.testclient import TestClient

from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import VERDICT, TorchServe, picture, upload
from tests.gateway.test_metrics import scrape
from tests.gateway.test_shadow import ALL, LIVE, OTHER, SHADOW, answering, other

JPEG = picture("JPEG")
FILES = {"file": upload(JPEG)}


@pytest.fixture
def comparing(open_client: OpenClient, torchserve: TorchServe) -> TestClient:
    torchserve.handler = answering(other)
    return open_client(shadow_version="2.0", shadow_fraction=0)


def test_compare_answers_the_documented_bytes(comparing: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.context.elapsed_ms", lambda _: 45.2)
    answer = comparing.post("/v1/predict/compare", files=FILES)
    assert answer.status_code == 200
    assert answer.text == (
        '{"primary":{"prediction":"ai_generated","probability":0.87,"confidence":"high",'
        '"inference_time_ms":45.2,"model_version":"1.0.0"},'
        '"shadow":{"prediction":"real","probability":0.4321,"confidence":"low",'
        '"inference_time_ms":45.2,"model_version":"2.0.0"},'
        '"agreement":false,"difference":0.4379,"message":null}'
    )


def test_both_get_the_bytes_unchanged_and_at_the_same_time(comparing: TestClient, torchserve: TorchServe) -> None:
    met = asyncio.Event()

    async def meet(_: httpx.Request) -> httpx.Response:
        if len(torchserve.requests) == 2:
            met.set()
        await asyncio.wait_for(met.wait(), 5)
        return httpx.Response(200, json=VERDICT)

    torchserve.handler = meet
    assert comparing.post("/predict/compare", files=FILES, headers={"X-Request-ID": "order 66"}).status_code == 200
    assert {request.url.path for request in torchserve.requests} == {LIVE, SHADOW}
    assert [(one.content, one.headers["x-request-id"]) for one in torchserve.requests] == [(JPEG, "order 66")] * 2


def test_without_a_shadow_version_there_is_nothing_to_compare(client: TestClient, torchserve: TorchServe) -> None:
    answer = client.post("/predict/compare", files=FILES)
    assert answer.status_code == 404
    assert answer.json() == {
        "error": "No shadow version",
        "detail": "This service runs one version of the model, so there is nothing to compare it with.",
    }
    assert torchserve.requests == []


def test_it_counts_against_the_rate_of_predictions(open_client: OpenClient) -> None:
    client = open_client(predict_rate=2, **ALL)
    assert client.post("/predict", files=FILES).headers["ratelimit"].startswith('"predict";r=1;')
    assert client.post("/v1/predict/compare", files=FILES).headers["ratelimit"].startswith('"predict";r=0;')
    assert client.post("/predict/compare", files=FILES).status_code == 429


@pytest.mark.parametrize("down", [LIVE, SHADOW])
def test_when_either_version_is_down_it_is_503(comparing: TestClient, torchserve: TorchServe, down: str) -> None:
    async def half(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if request.url.path == down else httpx.Response(200, json=OTHER)

    torchserve.handler = half
    answer = comparing.post("/predict/compare", files=FILES)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"] == "Service unavailable"
    torchserve.handler = torchserve.predict
    found = scrape(comparing)
    assert found["aidetect_backend_errors_total", ("status",)] == (1 if down == LIVE else 0)


def test_the_live_prediction_counts_and_is_logged_and_the_shadows_is_not_counted(
    comparing: TestClient, log_lines: LogLines
) -> None:
    comparing.post("/predict/compare", files=FILES)
    (line,) = log_lines()
    wanted = ("prediction", "probability", "confidence", "model_version", "agreement", "difference")
    assert [line[name] for name in wanted] == ["ai_generated", 0.87, "high", "1.0.0", False, 0.4379]
    found = scrape(comparing)
    assert found["aidetect_predictions_total", ("high", "ai_generated", "success")] == 1
    assert {value for (name, _), value in found.items() if "shadow_samples" in name} == {0}
    assert comparing.get("/drift").json()["current"]["mean"] == 0.87
