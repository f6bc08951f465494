"""A second model version takes over while requests go on: the README's commands, in its order."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx

from stack.local import LocalStack
from stack.torchserve import ARCHIVE
from training import repack

MODEL = "/models/product-photo-detector"
NEW = "9.9.9"


def test_switching_versions_fails_no_request(
    stack: LocalStack, gateway: httpx.Client, management: httpx.Client, coffee: Path
) -> None:
    old = gateway.get("/health").json()["model_version"]
    archive = repack.run(stack.layout.store / ARCHIVE, NEW)
    answers: list[tuple[int, str]] = []
    stop = threading.Event()
    client = threading.Thread(target=_ask_until, args=(stop, stack.gateway_url, coffee.read_bytes(), answers))
    client.start()
    try:
        query = {"url": archive.name, "model_name": "product-photo-detector", "initial_workers": "0"}
        management.post("/models", params=query).raise_for_status()
        management.put(f"{MODEL}/{NEW}", params={"min_worker": "1"}).raise_for_status()
        _wait_ready(management)
        management.put(f"{MODEL}/{NEW}/set-default").raise_for_status()
        time.sleep(3)  # what the old version still holds
        management.delete(f"{MODEL}/{old}").raise_for_status()
        time.sleep(2)
    finally:
        stop.set()
        client.join()
    assert {status for status, _ in answers} == {200}
    assert [version for _, version in answers[:1] + answers[-1:]] == [old, NEW]
    assert [model["modelVersion"] for model in management.get(f"{MODEL}/all").json()] == [NEW]


def _ask_until(stop: threading.Event, url: str, photo: bytes, answers: list[tuple[int, str]]) -> None:
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        while not stop.is_set():
            answer = client.post("/predict", files={"file": photo})
            answers.append((answer.status_code, answer.json().get("model_version", "")))


def _wait_ready(management: httpx.Client) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        [model] = management.get(f"{MODEL}/{NEW}").json()
        if any(worker["status"] == "READY" for worker in model["workers"]):
            return
        time.sleep(0.5)
    raise TimeoutError(model)
