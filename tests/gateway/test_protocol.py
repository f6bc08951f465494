"""What comes off the wire, without a network: a transport that keeps what is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.server import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED, Connections, Protocol
from gateway.settings import Settings

LINE = b"POST / HTTP/1.1\r\nHost: gateway\r\n"


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:  # noqa: ANN401 - bytes of any kind
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Let everything come."""

    def resume_reading(self) -> None:
        """Let everything come."""


async def body_size(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


async def sent(chunks: Iterable[bytes]) -> Wire:
    wire, state = Wire(), ServerState()
    config = uvicorn.Config(body_size, log_config=None, lifespan="off")
    protocol = Protocol(config, state, {}, connections=Connections(Settings()))
    protocol.connection_made(wire)
    for chunk in chunks:
        if not wire.closed:
            protocol.data_received(chunk)
            await asyncio.sleep(0)
    if wire.closed:
        protocol.connection_lost(None)
    while state.tasks:
        await asyncio.gather(*state.tasks)
    if not wire.closed:
        protocol.connection_lost(None)
    return wire


@pytest.mark.anyio
@pytest.mark.parametrize(
    "raw", [b"BREW / HTTP/1.1\r\n\r\n", LINE + b"no header\r\n\r\n", b"\0\r\n", b"GET / HTTP/9\r\n\r\n"]
)
async def test_what_is_no_http_is_a_json_error_with_an_id(raw: bytes) -> None:
    wire = await sent([raw])
    head, _, body = wire.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nx-request-id: " in head
    assert b"\r\ncontent-type: application/json" in head
    assert json.loads(body) == {"error": "Bad Request", "detail": "Malformed HTTP request."}
    assert wire.closed


@pytest.mark.anyio
async def test_a_body_is_no_head_and_many_heads_are_not_one() -> None:
    size = 4 * MAX_HEAD_BYTES
    large = [LINE + f"Content-Length: {size}\r\n\r\n".encode(), *[bytes(MAX_HEAD_BYTES * 2)] * 2]
    wire = await sent([*large, *[LINE[:20], LINE[20:] + b"X-Much: " + b"x" * 1000 + b"\r\n\r\n"] * 100])
    assert wire.written.count(b"HTTP/1.1 200 OK") == 101
    assert f"{size} bytes".encode() in wire.written


CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "raw",
    [
        LINE + b"a:\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        CHUNKED + b"0\r\n" + b"a:\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        (LINE + b"\r\n") * (MAX_PIPELINED + 3),
    ],
    ids=["headers", "trailers", "pipelined requests"],
)
async def test_what_costs_much_more_than_its_bytes_has_a_bound(raw: bytes) -> None:
    wire = await sent([raw])
    assert wire.written.count(b"HTTP/1.1 400 Bad Request") == 1
    assert wire.closed


@pytest.mark.anyio
@pytest.mark.parametrize(
    "begun",
    [[LINE + b"X-Long: "], [CHUNKED, b"0\r\nX-Long: "], [CHUNKED, b"1;"]],
    ids=["head", "trailer", "chunk extension"],
)
async def test_what_is_no_body_has_an_end(begun: list[bytes]) -> None:
    wire = await sent([*begun, *[b"x" * 1024] * (MAX_HEAD_BYTES // 1024 + 100)])
    assert wire.written.count(b"HTTP/1.1 400 Bad Request") == 1
    assert wire.closed
