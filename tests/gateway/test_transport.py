"""The real transport on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from gateway.torchserve import AiohttpTransport

pytestmark = pytest.mark.anyio

GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Request-Id: seven\r\n\r\n{"a"'
HEADERS = {"Content-Type": "application/octet-stream", "X-Request-Id": "7"}


@dataclass
class Peer:
    """Reads whole requests and answers each with the same bytes; hangs up after them if told to."""

    answer: bytes = GOOD
    hangs_up: bool = False
    requests: list[tuple[list[str], bytes]] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                length = next(int(line.split(": ")[1]) for line in lines if line.startswith("Content-Length"))
                self.requests.append((lines, await reader.readexactly(length)))
                writer.write(self.answer)
                if self.hangs_up:
                    break
        except asyncio.IncompleteReadError:
            pass  # the client has gone
        finally:
            writer.close()
            await writer.wait_closed()

    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/predictions/model"


@asynccontextmanager
async def listening(peer: Peer, connections: int = 2) -> AsyncIterator[AiohttpTransport]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    async with server, AiohttpTransport(connections, connect_timeout_s=1.0) as transport:
        yield transport


async def send(transport: AiohttpTransport, url: str, body: bytes = b"image") -> httpx.Response:
    return await transport.handle_async_request(httpx.Request("POST", url, content=body, headers=HEADERS))


async def test_the_request_goes_out_as_it_is_and_the_answer_comes_back_whole() -> None:
    peer = Peer()
    async with listening(peer) as transport:
        response = await send(transport, peer.url())
    assert (response.status_code, response.headers["X-Request-Id"], response.content) == (200, "seven", b'{"a"')
    ((lines, body),) = peer.requests
    assert lines[0] == "POST /predictions/model HTTP/1.1"
    assert sorted(lines[1:]) == [
        "Content-Length: 5",
        "Content-Type: application/octet-stream",
        f"Host: 127.0.0.1:{peer.port}",
        "X-Request-Id: 7",
    ]
    assert body == b"image"


@pytest.mark.parametrize(
    ("hangs_up", "at_once", "requests", "connections"),
    [(False, 1, 3, 1), (False, 6, 6, 2), (True, 1, 2, 2)],
    ids=["one after the other", "no more than allowed", "a new one for each that the server closed"],
)
async def test_connections_are_kept_and_bounded(
    *, hangs_up: bool, at_once: int, requests: int, connections: int
) -> None:
    peer = Peer(hangs_up=hangs_up)
    async with listening(peer, connections=2) as transport:
        for _ in range(requests // at_once):
            await asyncio.gather(*[send(transport, peer.url()) for _ in range(at_once)])
            await asyncio.sleep(0.05)  # a goodbye arrives
    assert (len(peer.requests), peer.connections) == (requests, connections)


async def test_a_redirect_is_not_followed() -> None:
    peer = Peer(b"HTTP/1.1 307 Elsewhere\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")
    async with listening(peer) as transport:
        response = await send(transport, peer.url())
    assert (response.status_code, len(peer.requests)) == (307, 1)


async def test_nobody_listening_is_a_failure_to_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with AiohttpTransport(1, connect_timeout_s=1.0) as transport:
        with pytest.raises(httpx.ConnectError, match=r"^no connection$"):
            await send(transport, f"http://127.0.0.1:{port}/")


async def test_a_server_that_accepts_nobody_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for client in waiting:
            client.settimeout(0)
            client.connect_ex(address)
        async with AiohttpTransport(1, connect_timeout_s=0.2) as transport:
            with pytest.raises(httpx.ConnectTimeout, match=r"^no connection in time$"):
                await send(transport, f"http://127.0.0.1:{address[1]}/")
        for client in waiting:
            client.close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nConte", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"what?\r\n\r\n"],
    ids=["none", "half a head", "half a body", "no HTTP"],
)
async def test_what_may_have_reached_the_model_is_no_failure_to_connect_and_not_sent_again(answer: bytes) -> None:
    peer = Peer(answer, hangs_up=True)
    async with listening(peer) as transport:
        with pytest.raises(httpx.ReadError, match=r"^no whole answer$"):
            await send(transport, peer.url())
    assert len(peer.requests) == 1


async def test_a_deadline_takes_the_connection_with_it() -> None:
    peer = Peer(answer=b"")
    async with listening(peer, connections=1) as transport:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await send(transport, peer.url())
        peer.answer = GOOD
        assert (await send(transport, peer.url())).status_code == 200
    assert peer.connections == 2
