from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import pytest
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.settings import Settings
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import REAL, VERDICT, BareClient, TorchServe, multipart, picture, upload
from tests.gateway.test_metrics import scrape
from tests.gateway.test_shadow import ALL, LIVE, OTHER, SHADOW, answering, other


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
    torchserve.after(0.1)
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


def answer(torchserve: TorchServe, image: bytes, status: int, body: object = None) -> None:
    """Let one image be answered so, and all others as ever."""

    async def handler(request: httpx.Request) -> httpx.Response:
        same = request.content == image
        return httpx.Response(status, json=body) if same else httpx.Response(200, json=VERDICT)

    torchserve.handler = handler


def test_the_documented_bytes(client: TestClient, torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch) -> None:
    png = picture("PNG")
    answer(torchserve, png, 200, REAL)
    monkeypatch.setattr("gateway.routes.elapsed_ms", lambda _: 89.5)
    files = [("files", upload(JPEG, "photo1.jpg")), ("files", upload(png, "photo2.png"))]
    response = client.post("/predict/batch", files=files)
    assert response.status_code == 200
    assert response.text == (
        '{"results":['
        '{"filename":"photo1.jpg","prediction":"ai_generated","probability":0.87,"confidence":"high","error":null},'
        '{"filename":"photo2.png","prediction":"real","probability":0.12,"confidence":"high","error":null}],'
        '"total":2,"successful":2,"failed":0,"total_inference_time_ms":89.5,"model_version":"1.0.0"}'
    )


@pytest.mark.parametrize("concurrency", [3, 16])
def test_order_is_kept_whatever_finishes_first_and_no_more_run_than_the_setting(
    open_client: OpenClient, torchserve: TorchServe, concurrency: int
) -> None:
    sides = [100, 20, 70, 10, 90, 30, 60, 40, 80, 50]
    pictures = {picture("PNG", (side, 10)): side for side in sides}
    running, peak = 0, 0

    async def slower_when_wider(request: httpx.Request) -> httpx.Response:
        nonlocal running, peak
        running, side = running + 1, pictures[request.content]
        peak = max(peak, running)
        await asyncio.sleep(side / 500)
        running -= 1
        return httpx.Response(200, json=VERDICT | {"probability": side / 1000, "model_version": str(side)})

    torchserve.handler = slower_when_wider
    files = [("files", upload(data, f"{side}.png")) for data, side in pictures.items()]
    body = open_client(backend_concurrency=concurrency).post("/predict/batch", files=files).json()
    assert [item["filename"] for item in body["results"]] == [f"{side}.png" for side in sides]
    assert [item["probability"] for item in body["results"]] == [side / 1000 for side in sides]
    assert peak == min(concurrency, 10)
    if peak == 10:
        assert body["model_version"] == "100"  # the last to answer
        assert body["total_inference_time_ms"] < 500  # the sum would be 1,100


def test_files_that_find_no_place_in_the_line_fail_alone(
    open_client: OpenClient, torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "backend_queue", 4)
    torchserve.after(0.15)
    client = open_client(backend_concurrency=1)
    body = client.post("/predict/batch", files=[("files", upload(JPEG))] * 7).json()
    refusal = "Service unavailable: The model is not available right now. Please retry."
    assert sorted(str(item["error"]) for item in body["results"]) == ["None"] * 5 + [refusal] * 2
    assert scrape(client)["aidetect_backend_errors_total", ("queue_full",)] == 2


def test_a_batch_in_flight_does_not_hold_up_a_single_request(open_client: OpenClient, torchserve: TorchServe) -> None:
    single, released = picture("PNG"), Event()

    async def held(_: httpx.Request) -> httpx.Response:
        await asyncio.to_thread(released.wait)
        return httpx.Response(200, json=VERDICT)

    torchserve.handler = held
    client = open_client(backend_concurrency=3)
    queue = client.app_state["services"].backend.queue
    with ThreadPoolExecutor() as pool:
        batch = pool.submit(client.post, "/predict/batch", files=[("files", upload(JPEG))] * 10)
        wait_for(lambda: queue.waiting == 7)
        alone = pool.submit(client.post, "/predict", files={"file": upload(single)})
        wait_for(lambda: queue.waiting == 8)
        released.set()
    assert (batch.result().json()["successful"], alone.result().status_code) == (10, 200)
    assert [request.content for request in torchserve.requests].index(single) == 4  # three were running, one went first


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.001)


def test_bad_files_fail_alone(open_client: OpenClient, torchserve: TorchServe) -> None:
    corrupt = picture("PNG")
    answer(torchserve, corrupt, 422, {"code": "corrupt_image"})
    client = open_client(max_file_bytes=20_000)
    contents = [picture("GIF"), JPEG, corrupt, b"", JPEG + bytes(20_000), picture("JPEG", (9, 9))]
    files = [("files", upload(data, f"{index}")) for index, data in enumerate(contents)]
    body = client.post("/predict/batch", files=files).json()
    assert [item["error"] for item in body["results"]] == [
        "Invalid image format: Supported formats: JPEG, PNG, WebP. Got: image/gif",
        None,
        "Invalid image: The image is truncated or corrupt.",
        "Empty file: The uploaded file has no content.",
        "File too large: Maximum file size: 0.0190735 MB",
        "Invalid image dimensions: Each side must have 10 to 10000 pixels. Got: 9x9",
    ]
    assert body["results"][0] == {
        "filename": "0",
        "prediction": None,
        "probability": None,
        "confidence": None,
        "error": "Invalid image format: Supported formats: JPEG, PNG, WebP. Got: image/gif",
    }
    assert (body["total"], body["successful"], body["failed"]) == (6, 1, 5)
    assert body["model_version"] == "1.0.0"


def test_names_come_back_as_they_were_sent(client: TestClient) -> None:
    names = ["../../été 日本.jpg", 'a"b.jpg', "plain.jpg"]
    response = client.post("/predict/batch", files=[("files", upload(JPEG, name)) for name in names])
    assert [item["filename"] for item in response.json()["results"]] == ["../../été 日本.jpg", "a%22b.jpg", "plain.jpg"]


def test_a_name_that_utf_8_cannot_carry_is_mended(client: TestClient) -> None:
    head = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="+2AA-.jpg"\r\n\r\n'
    response = client.post(
        "/predict/batch",
        content=head + JPEG + b"\r\n--cut--\r\n",
        headers={"Content-Type": "multipart/form-data; charset=utf-7; boundary=cut"},
    )
    assert response.status_code == 200
    assert response.json()["results"][0]["filename"] == "?.jpg"


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
