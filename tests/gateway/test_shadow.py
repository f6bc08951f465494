from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from gateway.app import create_app
from gateway.images import CheckedImage
from gateway.schemas import Verdict
from gateway.services import Services, Shadow, open_services
from gateway.settings import Settings
from gateway.torchserve import FairQueue
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import VERDICT, BareClient, Handler, TorchServe, multipart, picture, upload
from tests.gateway.test_metrics import scrape

pytestmark = pytest.mark.anyio
JPEG = picture("JPEG")
IMAGE = CheckedImage(JPEG, 64 * 48)
FILES = {"file": upload(JPEG)}
LIVE, SHADOW = "/predictions/product-photo-detector", "/predictions/product-photo-detector/2.0"
OTHER = {"prediction": "real", "probability": 0.4321, "confidence": "low", "model_version": "2.0.0"}
ALL: dict[str, Any] = {"shadow_version": "2.0", "shadow_fraction": 1}


def answering(shadow: Handler, live: Handler = TorchServe.predict) -> Handler:
    async def handler(request: httpx.Request) -> httpx.Response:
        return await (shadow if request.url.path == SHADOW else live)(request)

    return handler


async def other(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=OTHER)


async def hanging(_: httpx.Request) -> httpx.Response:
    await asyncio.sleep(60)
    raise AssertionError


def samples(client: TestClient) -> dict[str, float]:
    found = scrape(client)
    return {labels[0]: value for (name, labels), value in found.items() if "shadow_samples" in name and value}


def sampled(client: TestClient, count: int) -> dict[str, float]:
    """What came of the samples, once there are so many."""
    deadline = monotonic() + 5
    while sum((found := samples(client)).values()) < count and monotonic() < deadline:
        sleep(0.005)
    return found


def asked(torchserve: TorchServe, path: str = SHADOW) -> list[httpx.Request]:
    return [request for request in torchserve.requests if request.url.path == path]


@asynccontextmanager
async def opened(torchserve: TorchServe, **changes: Any) -> AsyncIterator[tuple[Services, Shadow]]:  # noqa: ANN401
    async with open_services(Settings(**ALL | changes), torchserve.transport()) as services:
        assert services.shadow is not None
        yield services, services.shadow


def result(services: Services, name: str) -> float | None:
    return services.metrics.registry.get_sample_value("aidetect_shadow_samples_total", {"result": name})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0)


PREDICTED = (IMAGE, Verdict.model_validate(VERDICT))


@pytest.mark.parametrize("version", [None, ""])
def test_without_a_version_nobody_else_is_asked(
    open_client: OpenClient, torchserve: TorchServe, version: str | None
) -> None:
    client = open_client(shadow_version=version, shadow_fraction=1)
    client.post("/predict", files=FILES)
    assert samples(client) == {}
    assert {request.url.path for request in torchserve.requests} == {LIVE}


def test_each_image_of_a_batch_is_sampled_and_no_explanation(open_client: OpenClient, torchserve: TorchServe) -> None:
    client = open_client(**ALL)
    client.post("/predict/explain", files=FILES)
    files = [("files", upload(data)) for data in (JPEG, picture("GIF"), picture("PNG"))]
    client.post("/predict/batch", files=files)
    assert sampled(client, 2) == {"agreement": 2}
    assert sorted(request.content for request in asked(torchserve)) == sorted([JPEG, picture("PNG")])


def test_the_same_bytes_are_predicted_under_the_same_id_and_compared_exactly(
    open_client: OpenClient, torchserve: TorchServe
) -> None:
    client = open_client(**ALL)
    client.post("/predict", files=FILES, headers={"X-Request-ID": "order 66"})
    assert sampled(client, 1) == {"agreement": 1}
    (request,) = asked(torchserve)
    assert (request.method, request.content, request.headers["x-request-id"]) == ("POST", JPEG, "order 66")
    torchserve.handler = answering(other)
    client.post("/predict", files=FILES)
    assert sampled(client, 2) == {"agreement": 1, "disagreement": 1}
    found = scrape(client)
    assert found["aidetect_shadow_difference_sum", ()] == 0.4379  # 0.87 and 0.4321
    assert found["aidetect_shadow_difference_bucket", ("0.3",)] == 1
    assert found["aidetect_shadow_difference_bucket", ("0.5",)] == 2
    assert found["aidetect_shadow_latency_seconds_count", ()] == 2


async def test_a_sample_is_the_configured_share(torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.services.random", Random(7).random)  # noqa: S311 - reproducible, no secret
    async with opened(torchserve, shadow_fraction=0.1) as (_, shadow):
        assert [number for number in range(60) if shadow.picks()] == [3, 6, 8, 10, 11, 21, 33, 34, 56]
    async with opened(torchserve, shadow_fraction=0) as (_, shadow):
        assert not shadow.picks()


class Watching(BareClient):
    """Looks at what the model server was asked in the moment in which the answer is out."""

    torchserve: TorchServe
    asked_before: list[str]

    async def _send(self, message: Message) -> None:
        await super()._send(message)
        for _ in range(10):  # chances for a task to run
            await asyncio.sleep(0)
        self.asked_before = [request.url.path for request in self.torchserve.requests]


async def test_the_answer_is_out_before_the_shadow_version_is_asked(torchserve: TorchServe) -> None:
    app = create_app(Settings(**ALL), torchserve.transport())
    bare = Watching(app, "/predict", [multipart("file", JPEG)])
    bare.torchserve = torchserve
    await bare.run()
    assert (bare.status, bare.json()["probability"], bare.asked_before) == (200, 0.87, [LIVE])


def test_a_hanging_shadow_delays_nobody_and_holds_up_no_shutdown(torchserve: TorchServe) -> None:
    torchserve.handler = answering(hanging)
    started = monotonic()
    with TestClient(create_app(Settings(**ALL), torchserve.transport())) as client:
        assert [client.post("/predict", files=FILES).status_code for _ in range(5)] == [200] * 5
        line = client.post("/predict/batch", files=[("files", FILES["file"])] * 5).json()
        assert line["successful"] == 5
    assert monotonic() - started < 5


async def test_at_shutdown_what_is_unfinished_is_given_up(torchserve: TorchServe) -> None:
    torchserve.handler = answering(hanging)
    before = asyncio.all_tasks()
    async with opened(torchserve) as (_, shadow):
        await shadow.predict([PREDICTED] * 3, "id")
        await until(lambda: len(asked(torchserve)) == 2)
    assert asyncio.all_tasks() == before


async def test_no_more_calls_at_once_than_configured_and_the_rest_is_dropped(torchserve: TorchServe) -> None:
    finish = asyncio.Event()

    async def slow(_: httpx.Request) -> httpx.Response:
        await finish.wait()
        return httpx.Response(200, json=VERDICT)

    torchserve.handler = answering(slow)
    async with opened(torchserve) as (services, shadow):
        await shadow.predict([PREDICTED] * 10, "id")
        await until(lambda: len(asked(torchserve)) == 2)
        assert (shadow.backend.queue.running, shadow.backend.queue.waiting) == (2, 6)
        assert result(services, "dropped") == 2
        finish.set()
        await until(lambda: result(services, "agreement") == 8)
        await shadow.predict([PREDICTED], "id")
        await until(lambda: result(services, "agreement") == 9)
        assert result(services, "dropped") == 2


async def test_nothing_is_sampled_while_live_images_wait(torchserve: TorchServe) -> None:
    async with opened(torchserve) as (services, shadow):
        live = FairQueue(slots=0, places=1)
        busy = Shadow(shadow.backend, live, services.metrics, services.settings)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(live.slot("client").__aenter__())
            await until(lambda: live.waiting == 1)
            await busy.predict([PREDICTED], "id")
            waiting.cancel()
        assert result(services, "dropped") == 1
        assert torchserve.requests == []


async def broken(_: httpx.Request) -> httpx.Response:
    raise RuntimeError


async def refused(_: httpx.Request) -> httpx.Response:
    return httpx.Response(422, json={"code": "corrupt_image"})


async def unavailable(_: httpx.Request) -> httpx.Response:
    return httpx.Response(503)


@pytest.mark.parametrize(
    ("failure", "events"),
    [(unavailable, {"shadow_trouble"}), (refused, set()), (broken, {"unhandled_exception"})],
)
def test_failures_of_the_shadow_are_its_own(
    open_client: OpenClient, torchserve: TorchServe, log_lines: LogLines, failure: Handler, events: set[str]
) -> None:
    torchserve.handler = answering(failure)
    client = open_client(**ALL)
    assert client.post("/predict", files=FILES).json() | {"inference_time_ms": 0} == VERDICT | {"inference_time_ms": 0}
    assert sampled(client, 1) == {"error": 1}
    found = scrape(client)
    predictions = {labels: value for (name, labels), value in found.items() if name == "aidetect_predictions_total"}
    assert predictions == {("high", "ai_generated", "success"): 1}
    assert {value for (name, _), value in found.items() if "backend_errors" in name or "validation" in name} == {0}
    assert client.get("/drift").json()["window_size"] == 1
    assert {line["event"] for line in log_lines()} - {"request", "stamina.retry_scheduled"} == events


def test_the_shadows_verdicts_are_in_nothing_but_its_own_metrics(
    open_client: OpenClient, torchserve: TorchServe
) -> None:
    torchserve.handler = answering(other)
    client = open_client(**ALL)
    client.post("/predict", files=FILES)
    assert sampled(client, 1) == {"disagreement": 1}
    health = client.get("/health").json()
    assert (health["predictions_total"], health["model_version"]) == (1, "1.0.0")
    drift = client.get("/drift").json()
    assert (drift["window_size"], drift["current"]["mean"]) == (1, 0.87)
    found = scrape(client)
    assert found["aidetect_model_info", ("1.0.0",)] == 1
    assert found["aidetect_prediction_probability_sum", ()] == 0.87
