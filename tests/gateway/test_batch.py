from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import pytest
from starlette.testclient import TestClient

from tests.gateway.conftest import OpenClient
from tests.gateway.fakes import REAL, VERDICT, TorchServe, picture, upload

JPEG = picture("JPEG")
GIF = picture("GIF")


def answer(torchserve: TorchServe, image: bytes, status: int, body: object = None) -> None:
    """Let one image be answered so, and all others as ever."""

    async def handler(request: httpx.Request) -> httpx.Response:
        same = request.content == image
        return httpx.Response(status, json=body) if same else httpx.Response(200, json=VERDICT)

    torchserve.handler = handler


def test_the_documented_bytes(client: TestClient, torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch) -> None:
    png = picture("PNG")
    answer(torchserve, png, 200, REAL)
    monkeypatch.setattr("gateway.routes.predictions.elapsed_ms", lambda _: 89.5)
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


def test_files_that_find_no_place_in_the_line_fail_alone(open_client: OpenClient, torchserve: TorchServe) -> None:
    async def slow(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.15)
        return httpx.Response(200, json=VERDICT)

    torchserve.handler = slow
    client = open_client(backend_concurrency=1)
    body = client.post("/predict/batch", files=[("files", upload(JPEG))] * 7).json()
    refusal = "Service unavailable: The model is not available right now. Please retry."
    assert sorted(str(item["error"]) for item in body["results"]) == ["None"] * 5 + [refusal] * 2


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
    contents = [GIF, JPEG, corrupt, b"", JPEG + bytes(20_000), picture("JPEG", (9, 9))]
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


def test_files_together_over_the_limit_are_413(open_client: OpenClient, torchserve: TorchServe) -> None:
    client = open_client(max_batch_files=2, max_file_bytes=1000)
    response = client.post("/predict/batch", files=[("files", upload(JPEG + bytes(1000)))] * 2)
    assert response.status_code == 413
    assert response.json() == {"error": "Request too large", "detail": "Maximum batch size: 0.00190735 MB"}
    assert torchserve.requests == []


def test_a_bug_in_one_file_is_a_500_without_its_text(client: TestClient, torchserve: TorchServe) -> None:
    async def bug(_: httpx.Request) -> httpx.Response:
        raise RuntimeError("a path or a secret")

    torchserve.handler = bug
    response = client.post("/predict/batch", files=[("files", upload(JPEG))] * 2)
    assert response.status_code == 500
    assert response.json() == {"error": "Internal server error", "detail": "An unexpected error occurred."}


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
