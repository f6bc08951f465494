"""The stacks that are measured, as processes: the product as it ships, and the plain service with two sets of views."""

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Final

import httpx
import psutil
from PIL import Image

from benchmarks.load import HOST, BenchmarkError, get, measure, post, upload
from deploy.layout import ROOT, Layout, Ports, free_port
from deploy.local.demo import sample_photo
from deploy.local.stack import START_S, LocalStack, running
from deploy.torchserve.process import MODEL

TORCHSERVE, GATEWAY = "TorchServe direct", "through the gateway"
PREDICT, EXPLAIN, BATCH, HEALTH = "predict", "explain", "batch of 10", "health under load"
BATCH_FILES: Final = 10
SIZES: Final = {"100kB": (600, 95), "1MB": (3600, 92)}
"""Width in pixels and JPEG quality of the sample image that come to this size."""
POLL_S: Final = 0.05


def sample(size: str) -> bytes:
    """A real photograph as a JPEG of about this size."""
    width, quality = SIZES[size]
    buffer = BytesIO()
    with Image.open(sample_photo()) as image:
        height = round(width * image.height / image.width)
        image.resize((width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def direct(photo: bytes, *headers: str) -> bytes:
    """The request for a prediction as TorchServe itself takes it."""
    return post(f"/predictions/{MODEL}", "application/octet-stream", photo, *headers)


@contextmanager
def process(
    command: list[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """Start a process, wait until it listens on a port, and stop it on the way out.

    Raises:
        BenchmarkError: It does not come up.
    """
    log = folder / f"{port}.log"
    with (
        log.open("wb") as out,
        psutil.Popen(command, cwd=ROOT, env=os.environ | (environment or {}), stdout=out, stderr=out) as started,
    ):
        try:
            deadline = time.monotonic() + START_S
            while not _listens(port):
                if time.monotonic() > deadline or started.poll() is not None:
                    raise BenchmarkError(f"nothing listens on port {port}; its log ends with: {log.read_text()[-500:]}")
                time.sleep(POLL_S)
            yield started
        finally:
            started.terminate()


def _listens(port: int) -> bool:
    with suppress(httpx.TransportError):
        httpx.get(f"http://{HOST}:{port}/healthz", trust_env=False)
        return True
    return False


@dataclass(frozen=True)
class Stack:
    """Where a stack listens, what it can be asked for, its processes, and the seconds to its first prediction."""

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


def memory_mb(processes: Sequence[psutil.Process]) -> float:
    """Return the resident memory of processes and all their children, in MB; what they share counts for each."""
    every = {child for one in processes for child in [one, *one.children(recursive=True)]}
    return float(sum(one.memory_info().rss for one in every)) / 1e6


@contextmanager
def plain(name: str, sides: Sequence[int], photo: bytes, folder: Path) -> Iterator[Stack]:
    """Start the plain service with a view of each side, in pixels.

    Raises:
        BenchmarkError: It gives no prediction.
    """
    port, request, started = free_port(), upload("/predict", "file", [photo]), perf_counter()
    command = [sys.executable, "-m", "benchmarks.baseline", "--port", str(port), "--sides", *map(str, sides)]
    with process(command, port, folder) as service:
        start_s = _first_answer(port, request, started)
        yield Stack(name, port, {PREDICT: request, HEALTH: get("/healthz")}, [service], start_s)


@contextmanager
def product(photo: bytes, layout: BenchLayout) -> Iterator[list[Stack]]:
    """Start the product; TorchServe alone and the whole with its gateway are a stack each.

    Raises:
        BenchmarkError: It gives no prediction.
        StackError: A process ended.
    """
    others, started = set(psutil.Process().children()), perf_counter()
    with running(layout, Ports.free(), page=False) as stack:
        model_server, gateway = sorted(set(psutil.Process().children()) - others, key=psutil.Process.create_time)
        key = f"X-API-Key: {layout.api_key}"
        bare = direct(photo, f"Authorization: Bearer {_token(stack)}", "X-Request-Id: benchmark")
        requests = {
            PREDICT: upload("/predict", "file", [photo], key),
            EXPLAIN: upload("/predict/explain", "file", [photo], key),
            BATCH: upload("/predict/batch", "files", [photo] * BATCH_FILES, key),
            HEALTH: get("/healthz"),
        }
        bare_s = _first_answer(stack.ports.inference, bare, started, stack.supervisor.check)
        start_s = _first_answer(stack.ports.gateway, requests[PREDICT], started, stack.supervisor.check)
        yield [
            Stack(TORCHSERVE, stack.ports.inference, {PREDICT: bare}, [model_server], bare_s),
            Stack(GATEWAY, stack.ports.gateway, requests, [model_server, gateway], start_s),
        ]


def _token(stack: LocalStack) -> str:
    while True:
        stack.supervisor.check()
        with suppress(OSError, ValueError):  # not there yet, or half of it
            return stack.token("inference")
        time.sleep(POLL_S)


def _first_answer(port: int, request: bytes, started: float, check: Callable[[], None] = lambda: None) -> float:
    while (elapsed := perf_counter() - started) < START_S:
        check()
        try:
            measure(port, request, requests=1, connections=1)
        except* (OSError, EOFError, BenchmarkError):
            time.sleep(POLL_S)
        else:
            return perf_counter() - started
    raise BenchmarkError(f"no prediction from port {port} within {elapsed:.0f} s")
