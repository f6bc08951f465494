"""Load: one request, built beforehand, sent again and again over connections that stay open; and its statistics."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, takewhile
from statistics import fmean, quantiles, stdev
from time import perf_counter
from typing import Final

from deploy.layout import HOST, StackError

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
    def of(cls, values: Iterable[float]) -> Spread:
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
