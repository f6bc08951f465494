"""The benchmark of the whole stack on small real processes: an archive with a handler of a few lines, a bare server."""

from __future__ import annotations

import json
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import yaml
from starlette.testclient import TestClient

from benchmarks.baseline import Predictor, create_app
from benchmarks.ceiling import Best, Ceiling, CeilingError, pools, unpack
from benchmarks.figures import BATCH, EXPLAIN, GATEWAY, HEALTH, PLAIN, PREDICT, ROWS, SMALL, TORCHSERVE
from benchmarks.load import batch, get, measure_for, post
from benchmarks.serving import Plan, measured
from benchmarks.stacks import BenchLayout, Stack, memory_mb, sides

HANDLER = """
import time

class Handler:
    def initialize(self, context):
        self.threads = context.model_yaml_config["threads"]

    def handle(self, requests, context):
        if requests[0]["body"] == b"refused":
            context.set_response_status(422, "Unprocessable Content", 0)
        assert context.get_request_header(0, "explain") != "True"
        time.sleep((0.004 + 0.001 * len(requests)) / self.threads)
        return [{}] * len(requests)
"""


class Server(ThreadingHTTPServer):
    request_queue_size = 64


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Keep quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    with Server(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever).start()
        yield running.server_port
        running.shutdown()


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    archive = tmp_path / "model.mar"
    manifest = {"model": {"handler": "toy_entry.py", "configFile": "model-config.yaml"}}
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        packed.writestr("model-config.yaml", yaml.safe_dump({"threads": 8, "spec": {"version": "1.2.3"}}))
        packed.writestr("toy_entry.py", HANDLER)
    assert unpack(archive, tmp_path / "unpacked") == {"version": "1.2.3"}
    return tmp_path / "unpacked"


def test_the_ceiling_is_the_pool_and_batch_that_judge_most(unpacked: Path) -> None:
    with pools(unpacked, b"photo", os.environ) as started:
        best = Ceiling.find(started, seconds=0.2)
        assert best.together.batch == 8
        assert best.alone.batch == 1
        # Nothing here is shared between threads, so more of them only halve the time of each batch.
        assert best.alone.pool.threads == max(pool.threads for pool in started)
        found = best.together.pool.judge(8, 0.2)
        processes = len(best.together.pool.processes)
    pace = 8 * processes / 0.012 * best.together.pool.threads
    assert pace / 3 < found.per_s < pace
    assert min(found.latencies_ms) > 12 / best.together.pool.threads


def test_a_photo_that_the_handler_refuses_is_no_measurement(unpacked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CeilingError, match="the handler ended"), pools(unpacked, b"refused", os.environ):
        pass
    assert "RefusedError: 422 Unprocessable Content" in capfd.readouterr().err


def test_every_round_measures_every_row(unpacked: Path, port: int) -> None:
    requests = {PREDICT: post("/", "text/plain", b"photo"), EXPLAIN: get("/"), BATCH: get("/"), HEALTH: get("/")}
    myself = [psutil.Process()]
    served = [
        Stack(TORCHSERVE, port, {PREDICT: requests[PREDICT]}, myself, 1.0),
        *(Stack(name, port, requests, myself, 2.0) for name in (SMALL, PLAIN, GATEWAY)),
    ]
    with ExitStack() as opened:
        started = opened.enter_context(pools(unpacked, b"photo", os.environ))
        best = Ceiling(Best(started[-1], 2), Best(started[0], 1))
        found = measured(Plan(rounds=2, seconds=0.05, warm_up_s=0.01), served, best, {})
    assert [set(one) for one in found.rounds] == [set(ROWS)] * 2
    assert all(burst.per_s > 0 and burst.latencies_ms for one in found.rounds for burst in one.values())
    assert found.start_s[TORCHSERVE] == 1.0
    assert found.start_s[GATEWAY] == 2.0
    assert [set(one) for one in found.memory_mb] == [set(found.start_s)] * 2
    assert json.dumps(found.as_json())


def test_a_load_lasts_so_long_and_pauses(port: int) -> None:
    found = measure_for(port, get("/"), seconds=0.3, connections=2, pause_s=0.1)
    assert 2 <= len(found.latencies_ms) <= 6
    assert found.seconds >= 0.3


def test_a_batch_is_all_files_in_the_field_files() -> None:
    _, body = batch("/predict/batch", [b"one", b"two"]).split(b"\r\n\r\n", 1)
    head = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\nContent-Type: image/jpeg'
    assert body == head + b"\r\n\r\none\r\n" + head + b"\r\n\r\ntwo\r\n--edge--\r\n"


def test_memory_is_that_of_a_process_and_its_children(unpacked: Path) -> None:
    alone = memory_mb([psutil.Process()])
    with pools(unpacked, b"photo", os.environ) as started:
        together = memory_mb([psutil.Process()])
        children = sum(memory_mb(pool.processes) for pool in started)
    assert together > alone + children / 2
    assert children > 5 * len(started)


def test_the_plain_service_judges_one_view_of_each_side(coffee: Path) -> None:
    with TestClient(create_app(Predictor([32, 64]))) as client:
        answer = client.post("/predict", files={"file": coffee.read_bytes()})
        assert list(answer.json()) == ["probability"]
        assert 0 <= answer.json()["probability"] <= 1
        assert client.get("/healthz").json() == {"alive": True}


def test_the_plain_service_is_shown_as_many_views_as_the_model_takes() -> None:
    assert sides({"input_size": 320}) == [320]
    assert sides({"input_size": 320, "detail_grid": 2}) == [320] * 5
    assert sides({"input_size": 320, "details": 2, "detail_size": 224}) == [320, 224, 224]


def test_the_gateway_takes_a_key_of_its_own_and_limits_no_rates(tmp_path: Path) -> None:
    first, second = (BenchLayout(var=tmp_path) for _ in range(2))
    assert first.environment()["RATE_LIMIT_ENABLED"] == "false"
    assert first.environment()["API_KEYS"] == first.api_key
    assert first.api_key != second.api_key
