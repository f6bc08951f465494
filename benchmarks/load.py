"""Load: one request, built beforehand, sent again and again over connections that stay open."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count, takewhile
from statistics import fmean, quantiles, stdev
from time import perf_counter
from typing import Any, Final

from rich.table import Table

HOST: Final = "127.0.0.1"
_LENGTH: Final = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
BAR_ADDED_MS: Final = 3.0
BAR_PER_CPU_S: Final = 1000.0
LARGE: Final = 100
"""From here on decimals are noise."""
TICK_S: Final = 0.01
"""The step in which the kernel counts a process's time."""
NULL, ECHO, GATEWAY = "null back end", "Starlette echo", "gateway"
TARGETS: Final = (NULL, ECHO, GATEWAY)
BASES: Final = (NULL, ECHO)
"""What the gateway is put beside."""
FIGURES: Final[dict[str, Callable[[Round], float]]] = {
    "p50 ms": lambda found: found.percentile(50),
    "p95 ms": lambda found: found.percentile(95),
    "requests/s": lambda found: found.per_s,
    "requests/CPU-s": lambda found: found.per_cpu_s,
}


class LoadError(RuntimeError):
    """A response was not 200, so its time is meaningless."""


@dataclass(frozen=True)
class Load:
    """The time that each answer took, and all of them together."""

    latencies_ms: list[float]
    seconds: float


def post(path: str, content_type: str, body: bytes, *headers: str) -> bytes:
    """A whole POST request as it goes over the wire."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {HOST}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def get(path: str) -> bytes:
    """A whole GET request as it goes over the wire."""
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def upload(path: str, photo: bytes, *headers: str) -> bytes:
    """The POST of a photo in the multipart field `file`."""
    return _form(path, "file", [photo], *headers)


def batch(path: str, photos: Sequence[bytes], *headers: str) -> bytes:
    """The POST of several photos in the multipart field `files`."""
    return _form(path, "files", photos, *headers)


def measure(port: int, request: bytes, *, requests: int, connections: int) -> Load:
    """Send a request so many times, over so many connections at once.

    Raises:
        LoadError: An answer was not 200.
    """
    return asyncio.run(_measure(port, request, iter(range(requests)), connections))


def measure_for(port: int, request: bytes, *, seconds: float, connections: int, pause_s: float = 0) -> Load:
    """Send a request again and again for so long, over so many connections at once, with a pause after each answer.

    As many are sent as there are connections, however long it takes to open them.

    Raises:
        LoadError: An answer was not 200.
    """
    until = perf_counter() + seconds
    turns = chain(range(connections), takewhile(lambda _: perf_counter() < until, count()))
    return asyncio.run(_measure(port, request, turns, connections, pause_s))


async def _measure(port: int, request: bytes, turns: Iterator[object], connections: int, pause_s: float = 0) -> Load:
    latencies = list[float]()
    started = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_client(port, request, turns, latencies, pause_s))
    return Load(latencies, perf_counter() - started)


def _form(path: str, field: str, photos: Sequence[bytes], *headers: str) -> bytes:
    disposition = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="a.jpg"\r\n'.encode()
    parts = [disposition + b"Content-Type: image/jpeg\r\n\r\n" + photo + b"\r\n" for photo in photos]
    return post(path, "multipart/form-data; boundary=edge", b"".join(parts) + b"--edge--\r\n", *headers)


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
        raise LoadError(f"{head.splitlines()[0].decode()}: {body[:200].decode(errors='replace')}")


def percentile(values: Sequence[float], percent: int) -> float:
    """A percentile of one value or more."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


@dataclass(frozen=True)
class Round:
    """One target in one round: latencies one by one, then a number of requests at once, with wall and CPU time."""

    latencies_ms: list[float]
    requests: int
    wall_s: float
    cpu_s: float

    def percentile(self, percent: int) -> float:
        """A percentile of the latencies in ms."""
        return percentile(self.latencies_ms, percent)

    @property
    def per_s(self) -> float:
        """Requests a second of wall time."""
        return self.requests / self.wall_s

    @property
    def per_cpu_s(self) -> float:
        """Requests a second of the process's own time on a core."""
        return self.requests / max(self.cpu_s, TICK_S)


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


@dataclass(frozen=True)
class Comparison:
    """All rounds, each with every target by name."""

    rounds: list[dict[str, Round]]

    def spread(self, name: str, figure: Callable[[Round], float]) -> Spread:
        """A figure of one target."""
        return Spread.of(figure(found[name]) for found in self.rounds)

    def added_ms(self, base: str) -> Spread:
        """What the gateway's p50 has over another target's in the same round."""
        return Spread.of(found[GATEWAY].percentile(50) - found[base].percentile(50) for found in self.rounds)

    def ratio(self, base: str) -> Spread:
        """The gateway's p50 as a multiple of another target's in the same round."""
        return Spread.of(found[GATEWAY].percentile(50) / found[base].percentile(50) for found in self.rounds)

    def meets_bar(self) -> bool:
        """Whether the gateway adds as little and serves as much as it should."""
        served = self.spread(GATEWAY, lambda found: found.per_cpu_s)
        return self.added_ms(NULL).mean <= BAR_ADDED_MS and served.mean >= BAR_PER_CPU_S

    def as_json(self) -> dict[str, Any]:
        """Every figure by target, and the gateway's beside the others'."""
        targets = {
            name: {title: asdict(self.spread(name, figure)) for title, figure in FIGURES.items()} for name in TARGETS
        }
        added = {base: asdict(self.added_ms(base)) for base in BASES}
        ratio = {base: asdict(self.ratio(base)) for base in BASES}
        return {"targets": targets, "p50_added_ms": added, "p50_ratio": ratio, "meets_bar": self.meets_bar()}


def table(found: Comparison) -> Table:
    """The figures of all targets, mean ± standard deviation of the rounds."""
    grid = Table("", *FIGURES, "gateway's p50 adds, ms", "ratio", caption=_verdict(found))
    for name in TARGETS:
        figures = [str(found.spread(name, figure)) for figure in FIGURES.values()]
        beside = [str(found.added_ms(name)), str(found.ratio(name))] if name in BASES else []
        grid.add_row(name, *figures, *beside)
    return grid


def _verdict(found: Comparison) -> str:
    outcome = "met" if found.meets_bar() else "missed"
    return (
        f"n = {len(found.rounds)} rounds, mean ± sd. At most {BAR_ADDED_MS:g} ms over the null back end "
        f"and {BAR_PER_CPU_S:,.0f} requests a CPU second: {outcome}"
    )
