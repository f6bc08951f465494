"""The stacks that are measured, as processes: the product as it ships, and the plain service with two sets of views."""

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import httpx
import psutil
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from benchmarks.figures import BATCH, BATCH_FILES, EXPLAIN, GATEWAY, HEALTH, PLAIN, PREDICT, SMALL, TORCHSERVE
from benchmarks.load import ECHO, HOST, NULL, LoadError, batch, get, measure, post, upload
from benchmarks.load import GATEWAY as GATEWAY_TARGET
from deploy.layout import ROOT, Layout, Ports, free_port
from deploy.local.stack import START_S, LocalStack, running
from deploy.torchserve.process import MODEL

TARGET_START_S: Final = 180
SMALL_SIDE: Final = 224
"""Pixels; what EfficientNet-B0 was made for."""
VERDICT: Final = json.dumps(
    {
        "prediction": "ai_generated",
        "probability": 0.87,
        "confidence": "high",
        "model_version": "1.0.0",
        "inputs": {
            "width": 600.0,
            "height": 400.0,
            "megapixels": 0.24,
            "bytes_per_pixel": 0.4375,
            "brightness": 103.6499,
            "sharpness": 1301.3718199497428,
        },
    }
).encode()
HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", str(len(VERDICT)).encode())]


class TargetError(RuntimeError):
    """A process cannot be measured: it does not come up."""


@dataclass(frozen=True)
class Target:
    """A process that answers a request on a port."""

    name: str
    port: int
    request: bytes
    process: psutil.Process

    def cpu_s(self) -> float:
        """Processor seconds that the process has used, all of its threads."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def running_target(photo: bytes, folder: Path) -> Iterator[list[Target]]:
    """Start all of them and wait until they answer; the gateway as in production, but for the limit of rates.

    Raises:
        TargetError: One of them does not come up.
    """
    ports, key, token = Ports.free(), secrets.token_hex(), secrets.token_hex(4)
    key_file = folder / "key_file.json"
    key_file.write_text(json.dumps({"inference": {"key": token}}))
    gateway = {
        "API_KEYS": key,
        "RATE_LIMIT_ENABLED": "false",
        "GATEWAY_TORCHSERVE_URL": f"http://{HOST}:{ports.inference}",
        "GATEWAY_TORCHSERVE_KEY_FILE": str(key_file),
        "GATEWAY_DRIFT_FILE": ".",
    }
    with (
        process(_uvicorn("null_model", ports.inference), ports.inference, folder) as null,
        process(_uvicorn("echo", ports.page), ports.page, folder) as echo,
        _gateway(ports.gateway, folder, gateway) as real,
    ):
        yield [
            Target(NULL, ports.inference, direct(photo), null),
            Target(ECHO, ports.page, upload("/predict", photo), echo),
            Target(GATEWAY_TARGET, ports.gateway, upload("/predict", photo, f"X-API-Key: {key}"), real),
        ]


def _gateway(port: int, folder: Path, environment: Mapping[str, str]) -> AbstractContextManager[psutil.Process]:
    settings = {**environment, "GATEWAY_PORT": str(port)}
    return process([sys.executable, "-m", "gateway"], port, folder, settings)


def direct(photo: bytes, *headers: str) -> bytes:
    """The request for a verdict as TorchServe itself takes it."""
    return post(f"/predictions/{MODEL}", "application/octet-stream", photo, *headers)


def _uvicorn(application: str, port: int) -> list[str]:
    options = ["--host", HOST, "--port", str(port), "--no-access-log", "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", f"benchmarks.stacks:{application}", *options]


@contextmanager
def process(
    command: list[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """Start a process, wait until it listens on a port, and stop it on the way out.

    Raises:
        TargetError: It does not come up.
    """
    log = folder / f"{port}.log"
    with (
        log.open("wb") as out,
        psutil.Popen(command, cwd=ROOT, env=os.environ | (environment or {}), stdout=out, stderr=out) as started,
    ):
        try:
            _wait(port, started, log)
            yield started
        finally:
            started.terminate()


def _wait(port: int, process: psutil.Popen, log: Path) -> None:
    start = time.monotonic()
    while time.monotonic() - start < TARGET_START_S and process.poll() is None:
        try:
            httpx.get(f"http://{HOST}:{port}/healthz", trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TargetError(f"nothing listens on port {port}; its log ends with: {log.read_text()[-500:]}")


@dataclass(frozen=True)
class Stack:
    """Where a stack listens, what it can be asked for, its processes, and the seconds to its first verdict."""

    name: str
    port: int
    requests: Mapping[str, bytes]
    processes: Sequence[psutil.Process]
    start_s: float


@dataclass(frozen=True)
class BenchLayout(Layout):
    """A layout whose gateway takes one API key and limits no rates."""

    api_key: str = field(default_factory=secrets.token_hex)

    def environment(self) -> dict[str, str]:
        """The environment of every process."""
        return super().environment() | {"API_KEYS": self.api_key, "RATE_LIMIT_ENABLED": "false"}


@contextmanager
def stacks(photo: bytes, layout: BenchLayout, spec: Mapping[str, Any]) -> Iterator[list[Stack]]:
    """Start all stacks one after the other, so that each has the machine for its start-up.

    Raises:
        TargetError: One of them gives no verdict.
    """
    with ExitStack() as opened:
        yield [
            opened.enter_context(_plain(SMALL, [SMALL_SIDE], photo, layout.var)),
            opened.enter_context(_plain(PLAIN, sides(spec), photo, layout.var)),
            *opened.enter_context(product(photo, layout)),
        ]


def sides(spec: Mapping[str, Any]) -> list[int]:
    """Return the side of every view that the shipped model takes of an image, in pixels."""
    details = spec.get("details", spec.get("detail_grid", 0) ** 2)  # a grid is what archives up to 1.1.0 have
    return [spec["input_size"], *[spec.get("detail_size", spec["input_size"])] * details]


def memory_mb(processes: Sequence[psutil.Process]) -> float:
    """Return the resident memory of processes and all their children, in MB; what they share counts for each."""
    every = {child for one in processes for child in [one, *one.children(recursive=True)]}
    return float(sum(one.memory_info().rss for one in every)) / 1e6


@contextmanager
def _plain(name: str, views: Sequence[int], photo: bytes, folder: Path) -> Iterator[Stack]:
    port, request, started = free_port(), upload("/predict", photo), perf_counter()
    command = [sys.executable, "-m", "benchmarks.baseline", "--port", str(port), "--sides", *map(str, views)]
    with process(command, port, folder) as running_process:
        start_s = _first_answer(port, request, started)
        requests = {PREDICT: request, HEALTH: get("/healthz")}
        yield Stack(name, port, requests, [running_process], start_s)


@contextmanager
def product(photo: bytes, layout: BenchLayout) -> Iterator[list[Stack]]:
    """Start the product; TorchServe alone and the whole with its gateway are a stack each.

    Raises:
        TargetError: It gives no verdict.
    """
    others, started = set(psutil.Process().children()), perf_counter()
    with running(layout, Ports.free(), page=False) as stack:
        model_server, gateway = sorted(set(psutil.Process().children()) - others, key=psutil.Process.create_time)
        header, token = f"X-API-Key: {layout.api_key}", _token(stack, started)
        bare = direct(photo, f"Authorization: Bearer {token}", "X-Request-Id: benchmark")
        bare_s = _first_answer(stack.ports.inference, bare, started, stack.supervisor.check)
        requests = {
            PREDICT: upload("/predict", photo, header),
            EXPLAIN: upload("/predict/explain", photo, header),
            BATCH: batch("/predict/batch", [photo] * BATCH_FILES, header),
            HEALTH: get("/healthz"),
        }
        start_s = _first_answer(stack.ports.gateway, requests[PREDICT], started, stack.supervisor.check)
        yield [
            Stack(TORCHSERVE, stack.ports.inference, {PREDICT: bare}, [model_server], bare_s),
            Stack(GATEWAY, stack.ports.gateway, requests, [model_server, gateway], start_s),
        ]


def _token(stack: LocalStack, started: float) -> str:
    while perf_counter() - started < START_S:
        stack.supervisor.check()
        try:
            return stack.token("inference")
        except (OSError, ValueError):  # not there yet, or half of it
            time.sleep(0.05)
    raise TargetError("TorchServe wrote no tokens")


def _first_answer(port: int, request: bytes, started: float, check: Callable[[], None] = lambda: None) -> float:
    while (elapsed := perf_counter() - started) < START_S:
        check()
        try:
            measure(port, request, requests=1, connections=1)
        except* (OSError, EOFError, LoadError):
            time.sleep(0.05)
        else:
            return perf_counter() - started
    raise TargetError(f"no verdict from port {port} within {elapsed:.0f} s")


async def null_model(scope: Scope, receive: Receive, send: Send) -> None:
    """Read any request and return TorchServe's response to a prediction at once."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": VERDICT})


async def _count(request: Request) -> JSONResponse:
    async with request.form() as form:
        upload = form["file"]
        size = len(await upload.read()) if isinstance(upload, UploadFile) else 0
    return JSONResponse({"bytes": size})


echo = Starlette(routes=[Route("/predict", _count, methods=["POST"])])
