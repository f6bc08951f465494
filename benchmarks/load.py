"""Load: one request, built beforehand, sent again and again over connections that stay open."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Final

HOST: Final = "127.0.0.1"
_LENGTH: Final = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)


class LoadError(RuntimeError):
    """An answer was not 200, so its time says nothing."""


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


def upload(path: str, photo: bytes, *headers: str) -> bytes:
    """The POST of a photo in the multipart field `file`."""
    disposition = b'Content-Disposition: form-data; name="file"; filename="a.jpg"'
    head = b"--edge\r\n" + disposition + b"\r\nContent-Type: image/jpeg\r\n\r\n"
    return post(path, "multipart/form-data; boundary=edge", head + photo + b"\r\n--edge--\r\n", *headers)


def measure(port: int, request: bytes, *, requests: int, connections: int) -> Load:
    """Send a request so many times, over so many connections at once.

    Raises:
        LoadError: An answer was not 200.
    """
    return asyncio.run(_measure(port, request, requests, connections))


async def _measure(port: int, request: bytes, requests: int, connections: int) -> Load:
    turns, latencies = iter(range(requests)), list[float]()
    started = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_client(port, request, turns, latencies))
    return Load(latencies, perf_counter() - started)


async def _client(port: int, request: bytes, turns: Iterator[int], latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for _ in turns:
            started = perf_counter()
            writer.write(request)
            await _answer(reader)
            latencies.append((perf_counter() - started) * 1000)
    finally:
        writer.close()
        await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    if not head.startswith(b"HTTP/1.1 200 "):
        raise LoadError(f"{head.splitlines()[0].decode()}: {body[:200].decode(errors='replace')}")
