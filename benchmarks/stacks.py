"""The stacks that are measured, as processes: the product as it ships, and the plain service with two sets of views."""

import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Final

import psutil
from PIL import Image

from benchmarks.load import get, measure, post, upload
from deploy.layout import ROOT, Layout, Ports, StackError, free_port
from deploy.local.demo import sample_photo
from deploy.local.stack import START_S, running
from deploy.local.supervisor import Supervisor
from deploy.torchserve.process import MODEL

TORCHSERVE, GATEWAY = "TorchServe direct", "through the gateway"
PREDICT, EXPLAIN, BATCH, HEALTH = "predict", "explain", "batch of 10", "health under load"
BATCH_FILES: Final = 10
SIZES: Final = {"100kB": (600, 95), "1MB": (3600, 92)}
"""Width in pixels and JPEG quality of the sample image that come to this size."""


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
        StackError: It gives no prediction.
    """
    port, request, started = free_port(), upload("/predict", "file", [photo]), perf_counter()
    command = [sys.executable, "-m", "benchmarks.baseline", "--port", str(port), "--sides", *map(str, sides)]
    with Supervisor(folder, os.environ) as supervisor:
        supervisor.start(name, command, ROOT)
        wait(supervisor, port, request)
        start_s = perf_counter() - started
        yield Stack(name, port, {PREDICT: request, HEALTH: get("/healthz")}, processes(supervisor, name), start_s)


@contextmanager
def product(photo: bytes, layout: BenchLayout) -> Iterator[list[Stack]]:
    """Start the product; TorchServe alone and the whole with its gateway are a stack each.

    Raises:
        StackError: It gives no prediction, or a process ended.
    """
    started = perf_counter()
    with running(layout, Ports.free(), page=False) as stack:
        stack.wait(f"{stack.gateway_url}/readyz", "a first inference by TorchServe")
        start_s = perf_counter() - started
        key = f"X-API-Key: {layout.api_key}"
        bare = direct(photo, f"Authorization: Bearer {stack.token('inference')}", "X-Request-Id: benchmark")
        requests = {
            PREDICT: upload("/predict", "file", [photo], key),
            EXPLAIN: upload("/predict/explain", "file", [photo], key),
            BATCH: upload("/predict/batch", "files", [photo] * BATCH_FILES, key),
            HEALTH: get("/healthz"),
        }
        torchserve, whole = (processes(stack.supervisor, "torchserve", *more) for more in ([], ["gateway"]))
        yield [
            Stack(TORCHSERVE, stack.ports.inference, {PREDICT: bare}, torchserve, start_s),
            Stack(GATEWAY, stack.ports.gateway, requests, whole, start_s),
        ]


def processes(supervisor: Supervisor, *names: str) -> list[psutil.Process]:
    """Return a supervisor's processes of these names."""
    return [psutil.Process(supervisor.pids[name]) for name in names]


def wait(supervisor: Supervisor, port: int, request: bytes) -> None:
    """Wait until a request on a port is answered with 200.

    Raises:
        StackError: A process ended, or the time is over.
    """

    def answered() -> bool:
        try:
            measure(port, request, requests=1, connections=1)
        except* (OSError, EOFError, StackError):
            pass
        else:
            return True
        return False

    supervisor.wait(answered, START_S, f"no answer from port {port} within {START_S} s")
