"""The benchmarks: the load that they send, what they call a ratio, and a small run of the gateway's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import httpx
import pytest
import yaml
from starlette.testclient import TestClient

from benchmarks.baseline import create_app
from benchmarks.gateway import ECHO, FIGURES, GATEWAY, NULL, TARGETS, beside, meets_bar
from benchmarks.harness import Spread, measure, post, upload
from benchmarks.score import ceiling, pools, unpack
from benchmarks.tune import Setting, Tried, best
from deploy.layout import ROOT, StackError
from tests.gateway.command.service import served

HANDLER = """
import time

class Handler:
    def initialize(self, context):
        self.threads = context.model_yaml_config["threads"]

    def handle(self, requests, context):
        if requests[0]["body"] == b"refused":
            context.set_response_status(422, "Unprocessable Content", 0)
        time.sleep((0.004 + 0.001 * len(requests)) / self.threads)
        return [{}] * len(requests)
"""


def test_every_request_is_timed_over_connections_that_stay_open() -> None:
    bodies, connections = list[bytes](), set[int]()

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        connections.add(threading.get_ident())  # each has a thread
        return httpx.Response(200, text="busy")

    with served(answer) as url:
        found = measure(port_of(url), upload("/predict", "file", [b"JPEG"]), requests=12, connections=3)
    assert len(found.latencies_ms) == len(bodies) == 12
    assert 12 / found.per_s * 1000 >= max(found.latencies_ms) >= min(found.latencies_ms) > 0
    assert all(b'name="file"; filename=' in body and b"\r\n\r\nJPEG\r\n" in body for body in bodies)
    assert len(connections) == 3


def test_an_answer_other_than_200_stops_the_measurement() -> None:
    with served(lambda _: httpx.Response(503, text="busy")) as url, pytest.raises(ExceptionGroup) as caught:
        measure(port_of(url), post("/", "text/plain", b"hello"), requests=1, connections=1)
    (error,) = caught.value.exceptions
    assert isinstance(error, StackError)
    assert str(error) == "HTTP/1.1 503 Service Unavailable: busy"


def port_of(url: str) -> int:
    return httpx.URL(url).port or 0


def made(p50: float, per_cpu_s: float = 1000) -> dict[str, float]:
    return dict(zip(FIGURES, (p50, p50 + 0.5, 200, per_cpu_s), strict=True))


@pytest.mark.parametrize(
    ("gateway", "met"),
    [(made(4.0), True), (made(4.1), False), (made(4.0, 999), False)],
    ids=["3 ms more and 1,000 requests", "slower", "fewer"],
)
def test_what_the_gateway_adds_is_taken_within_each_round_and_held_to_the_bar(
    gateway: dict[str, float], *, met: bool
) -> None:
    rounds = [{NULL: made(p50), ECHO: made(2 * p50), GATEWAY: made(3 * p50)} for p50 in (1.0, 2.0)]
    assert beside(rounds, ECHO)[1] == Spread(1.5, 0.0, 2)
    assert beside(rounds, NULL) == (Spread(3.0, 2**0.5, 2), Spread(3.0, 0.0, 2))
    assert meets_bar([{NULL: made(1.0), ECHO: made(2.0), GATEWAY: gateway}]) is met


def test_of_settings_that_are_nearly_as_fast_the_one_that_answers_soonest_is_chosen() -> None:
    def tried(setting: Setting, per_s: float, p50_ms: float) -> Tried:
        return Tried(setting, Spread(per_s, 1, 3), Spread(p50_ms, 1, 3), 1000)

    fast, prompt, slow = Setting(2, 1, 8), Setting(1, 2, 4), Setting(1, 1, 1)
    assert best([tried(fast, 100, 40), tried(prompt, 98, 20), tried(slow, 90, 10)]).setting == prompt
    assert best([tried(fast, 100, 40), tried(prompt, 96, 20)]).setting == fast


@pytest.mark.slow
def test_the_ceiling_is_the_batch_that_predicts_most_and_a_refusal_is_no_measurement(tmp_path: Path) -> None:
    manifest = {"model": {"handler": "toy_entry.py", "configFile": "model-config.yaml"}}
    with zipfile.ZipFile(tmp_path / "model.mar", "w") as packed:
        packed.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        packed.writestr("model-config.yaml", yaml.safe_dump({"threads": 8, "spec": {"version": "1.2.3"}}))
        packed.writestr("toy_entry.py", HANDLER)
    assert unpack(tmp_path / "model.mar", tmp_path / "unpacked") == {"version": "1.2.3"}
    with pools(tmp_path / "unpacked", b"photo", dict(os.environ)) as started:
        together, alone = ceiling(started, seconds=0.2)
    assert (together.batch, alone.batch) == (8, 1)
    with (
        pytest.raises(StackError, match="the handler's process ended"),
        pools(tmp_path / "unpacked", b"refused", dict(os.environ)),
    ):
        pass


@pytest.mark.slow
def test_the_gateways_benchmark_runs_and_its_json_has_every_figure() -> None:
    few = ("--rounds", "2", "--alone", "5", "--together", "40", "--connections", "4", "--json")
    done = subprocess.run([sys.executable, "-m", "benchmarks.gateway", *few], cwd=ROOT, capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert set(found["targets"]) == set(TARGETS)
    assert all(spread["mean"] > 0 for figures in found["targets"].values() for spread in figures.values())


@pytest.mark.slow
def test_the_monitoring_demo_says_in_one_line_how_to_get_prometheus(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.drift_demo", "--var", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PATH": ""}, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "monitoring-demo: no prometheus in PATH: install it (Debian and Ubuntu: `apt install prometheus`, "
        "macOS: `brew install prometheus`, else from prometheus.io/download) and try again\n"
    )


def test_the_plain_service_predicts_one_view_of_each_side(coffee: Path) -> None:
    with TestClient(create_app([32, 64])) as client:
        answer = client.post("/predict", files={"file": coffee.read_bytes()})
        assert 0 <= answer.json()["probability"] <= 1
