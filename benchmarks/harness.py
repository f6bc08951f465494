"""What the benchmarks share: requests sent again and again, their statistics, and the stacks that are measured."""

import asyncio
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain, count, takewhile
from pathlib import Path
from statistics import fmean, quantiles, stdev
from time import perf_counter
from typing import Final, Self

import psutil
from PIL import Image

from deploy.layout import HOST, ROOT, Layout, Ports, StackError, free_port
from deploy.local.demo import sample_photo
from deploy.local.stack import START_S, running
from deploy.local.supervisor import Supervisor
from deploy.torchserve.process import MODEL

TORCHSERVE, GATEWAY = "TorchServe direct", "through the gateway"
PREDICT, EXPLAIN, BATCH, HEALTH = "predict", "explain", "batch of 10", "health under load"
BATCH_FILES: Final = 10
SIZES: Final = {"100kB": (600, 95), "1280px": (1280, 90), "1MB": (3600, 92)}
"""Width in pixels and JPEG quality of the sample image of this size."""
_LENGTH: Final = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
LARGE: Final = 100
"""From here on decimals are noise."""


@dataclass(frozen=True)
class Load:
    """The time that each answer took, and the rate of requests (or of images in process)."""

    latencies_ms: list[float]
    per_s: float

    def percentile(self, percent: int) -> float:
        """A percentile of the latencies in ms."""
        found = self.latencies_ms
        return quantiles(found, n=100, method="inclusive")[percent - 1] if len(found) > 1 else found[0]


@dataclass(frozen=True)
class Spread:
    """A figure over all rounds."""

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Mean and standard deviation of one value a round."""
        found = list(values)
        return cls(fmean(found), stdev(found) if len(found) > 1 else 0.0, len(found))

    def __str__(self) -> str:
        digits = 2 if self.mean < LARGE else 0
        return f"{self.mean:,.{digits}f} ± {self.sd:,.{digits}f}"


def post(path: str, content_type: str, body: bytes, *headers: str) -> bytes:
    """A whole POST request as it goes over the wire."""
    own = (f"Host: {HOST}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}")
    return "".join(f"{line}\r\n" for line in (f"POST {path} HTTP/1.1", *own, *headers)).encode() + b"\r\n" + body


def get(path: str) -> bytes:
    """A whole GET request as it goes over the wire."""
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def form(name: str, *images: bytes) -> bytes:
    """A multipart body, its boundary `cut`, with files in one field."""
    disposition = f'--cut\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n'.encode()
    parts = [disposition + b"Content-Type: image/jpeg\r\n\r\n" + image + b"\r\n" for image in images]
    return b"".join(parts) + b"--cut--\r\n"


def upload(path: str, name: str, images: Sequence[bytes], *headers: str) -> bytes:
    """The POST of images in a multipart field."""
    return post(path, "multipart/form-data; boundary=cut", form(name, *images), *headers)


def measure(port: int, request: bytes, *, requests: int, connections: int) -> Load:
    """Send a request so many times, over so many connections at once.

    Raises:
        StackError: An answer was not 200.
    """
    return asyncio.run(_measure(port, request, iter(range(requests)), connections, 0))


def measure_for(port: int, request: bytes, *, seconds: float, connections: int, pause_s: float = 0) -> Load:
    """Send a request again and again for so long, over so many connections at once, with a pause after each answer.

    As many are sent as there are connections, however long it takes to open them.

    Raises:
        StackError: An answer was not 200.
    """
    until = perf_counter() + seconds
    turns = chain(range(connections), takewhile(lambda _: perf_counter() < until, count()))
    return asyncio.run(_measure(port, request, turns, connections, pause_s))


async def _measure(port: int, request: bytes, turns: Iterator[object], connections: int, pause_s: float) -> Load:
    latencies, started = list[float](), perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_client(port, request, turns, latencies, pause_s))
    return Load(latencies, len(latencies) / (perf_counter() - started))


async def _client(port: int, request: bytes, turns: Iterator[object], latencies: list[float], pause_s: float) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for _ in turns:
            started = perf_counter()
            writer.write(request)
            await _answer(reader)
            latencies.append((perf_counter() - started) * 1000)
            if pause_s:
                await asyncio.sleep(pause_s)
    finally:
        writer.close()
        await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    if not head.startswith(b"HTTP/1.1 200 "):
        raise StackError(f"{head.splitlines()[0].decode()}: {body[:200].decode(errors='replace')}")


def sample(size: str) -> bytes:
    """A real photograph as a JPEG of this size, or about it."""
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
