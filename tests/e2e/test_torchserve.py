"""What TorchServe does with the archive: one mixed batch, tokens, listeners."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from deploy.layout import HOST
from deploy.local.stack import LocalStack
from deploy.local.versions import with_config
from deploy.torchserve.process import ARCHIVE

DELAY_S = 20
BATCH = 3


@pytest.fixture
def batching_model(stack: LocalStack, management: httpx.Client) -> str:
    """The shipped model again, with one worker that waits up to DELAY_S for a batch of BATCH to fill."""
    name = "batching"
    config = {"minWorkers": 1, "maxWorkers": 1, "batchSize": BATCH, "maxBatchDelay": DELAY_S * 1000}
    with_config(stack.layout.store / ARCHIVE, stack.layout.store / f"{name}.mar", config)
    query = {"url": f"{name}.mar", "model_name": name, "initial_workers": "1", "synchronous": "true"}
    management.post("/models", params=query).raise_for_status()
    return name


def test_one_batch_of_a_prediction_an_explanation_and_a_corrupt_picture_is_answered_item_by_item(
    inference: httpx.Client, batching_model: str, coffee: Path
) -> None:
    whole = coffee.read_bytes()
    requests: list[tuple[str, bytes]] = [("predictions", whole), ("explanations", whole), ("predictions", whole[:9999])]
    ask: Callable[[tuple[str, bytes]], httpx.Response] = lambda request: inference.post(  # noqa: E731 - a one-liner
        f"/{request[0]}/{batching_model}", content=request[1]
    )
    start = time.monotonic()
    with ThreadPoolExecutor(BATCH) as pool:
        prediction, explanation, corrupt = pool.map(ask, requests)
    assert time.monotonic() - start < DELAY_S  # else they did not share a batch
    assert prediction.status_code == explanation.status_code == 200
    assert "heatmap_base64" not in prediction.json()
    assert prediction.json() == {key: explanation.json()[key] for key in prediction.json()}
    assert explanation.json()["heatmap_base64"].startswith("/9j/")
    assert (corrupt.status_code, corrupt.json()) == (422, {"code": "corrupt_image"})


def test_nothing_is_answered_without_its_own_token(stack: LocalStack, coffee: Path) -> None:
    predict = f"{stack.inference_url}/predictions/product-photo-detector"
    models = f"http://{HOST}:{stack.ports.management}/models"
    wrong = {"Authorization": f"Bearer {stack.token('management')}"}
    raw = {"Content-Type": "application/octet-stream"}
    assert httpx.post(predict, content=coffee.read_bytes(), headers=raw, trust_env=False).status_code == 400
    assert httpx.post(predict, content=coffee.read_bytes(), headers=raw | wrong, trust_env=False).status_code == 400
    assert httpx.get(models, trust_env=False).status_code == 400
    assert httpx.get(models, headers=wrong, trust_env=False).status_code == 200


def test_a_model_is_registered_from_the_store_alone(management: httpx.Client, tmp_path: Path) -> None:
    for url in (f"file://{tmp_path}/model.mar", "http://127.0.0.1:9/model.mar", "../model.mar"):
        answer = management.post("/models", params={"url": url})
        assert answer.status_code in {400, 404}, answer.text  # refused, or found to be absent in the store
    assert [model["modelName"] for model in management.get("/models").json()["models"]].count("model") == 0


def test_every_process_listens_on_loopback_alone(stack: LocalStack) -> None:
    listening = [
        connection.laddr
        for child in psutil.Process().children(recursive=True)
        for connection in child.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    ports = {address.port for address in listening}
    assert {stack.ports.inference, stack.ports.management, stack.ports.metrics, stack.ports.gateway} <= ports
    assert {address.ip for address in listening} <= {"127.0.0.1", "::ffff:127.0.0.1"}
