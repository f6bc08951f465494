"""What a client leaves open, against a real process: every attack ends, and an honest client is answered beside it."""

from __future__ import annotations

import asyncio
import http.client
import json
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psutil
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.server import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED, Connections, Protocol
from gateway.settings import Settings
from tests.e2e.processes import Gateway, running_gateway
from tests.e2e.test_drain import SlowModel, serving
from tests.gateway.fakes import multipart, picture
from tests.gateway.test_metrics import parsed

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

MIB = 1024 * 1024
FORM = {"Content-Type": "multipart/form-data; boundary=cut"}
HEAD = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=cut\r\n"
PHOTO = multipart("file", picture("JPEG", (400, 300)))
SHORT = {"head_timeout_s": "1", "stall_timeout_s": "1", "keep_alive_timeout_s": "1"}


@contextmanager
def gateway(tmp_path: Path, **settings: str) -> Iterator[Gateway]:
    with (
        serving(SlowModel(0)) as url,
        running_gateway(
            tmp_path / "gateway.log", GATEWAY_TORCHSERVE_URL=url, **{"RATE_LIMIT_ENABLED": "false", **settings}
        ) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with short deadlines."""
    with gateway(tmp_path_factory.mktemp("hasty"), **SHORT) as running:
        yield running


def connect(gateway: Gateway, sent: bytes = b"") -> socket.socket:
    url = httpx.URL(gateway.url)
    connection = socket.create_connection((url.host, url.port or 0), timeout=10)
    connection.sendall(sent)
    return connection


def answer(connection: socket.socket) -> bytes:
    """All that comes until the gateway hangs up."""
    received = b""
    try:
        while data := connection.recv(65_536):
            received += data
    except ConnectionResetError:
        pass
    return received


def ask(gateway: Gateway, path: str = "/predict", content: bytes = PHOTO) -> httpx.Response:
    return httpx.post(f"{gateway.url}{path}", content=content, headers=FORM, timeout=30, trust_env=False)


def limited(gateway: Gateway) -> Counter[str]:
    """How often limits took effect, by their names."""
    found = parsed(httpx.get(f"{gateway.url}/metrics", trust_env=False).text)
    return +Counter({labels[0]: int(value) for (name, labels), value in found.items() if "resource_limit" in name})


@pytest.mark.parametrize(
    ("sent", "status", "limit"),
    [
        (b"", b"", "head_time"),
        (b"GET /healthz HTTP/1.1\r\nHo", b"HTTP/1.1 408 ", "head_time"),
        (HEAD % b"/predict" + b"Content-Length: 5000\r\n\r\n--cut\r\n", b"HTTP/1.1 408 ", "body_time"),
        (HEAD % b"/predict" + b"Transfer-Encoding: chunked\r\n\r\n5\r\n--cut\r\n", b"HTTP/1.1 408 ", "body_time"),
        (HEAD % b"/nowhere" + b"Content-Length: 5000\r\n\r\n--cut\r\n", b"HTTP/1.1 404 ", "head_time"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 ", None),
    ],
    ids=["silent", "half a head", "half a body", "half a chunked body", "a body that nobody reads", "kept alive"],
)
def test_nothing_that_stalls_stays_open(hasty: Gateway, sent: bytes, status: bytes, limit: str | None) -> None:
    before = limited(hasty)
    with connect(hasty, sent) as stalled:
        started = time.monotonic()
        said = answer(stalled)
        assert time.monotonic() - started < 8
        assert said.startswith(status)
        assert limited(hasty) - before == Counter([limit] if limit else [])
        if b" 408 " in status:
            body = json.loads(said.rpartition(b"\r\n\r\n")[2])
            assert body == {
                "error": "Request timeout",
                "detail": "The request did not arrive in time. Please send it again.",
            }


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"GET /healthz HTTP/1.1\r\n", b"X-A: b\r\n"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n"),
        (HEAD % b"/predict" + b"Content-Length: 5000\r\n\r\n", b"x"),
        (HEAD % b"/nowhere" + b"Content-Length: 5000\r\n\r\n", b"x"),
    ],
    ids=["head", "between requests", "body", "body that nobody reads"],
)
def test_drops_that_never_stop_do_not_hold_a_connection(hasty: Gateway, first: bytes, drop: bytes) -> None:
    with connect(hasty, first) as trickle:
        deadline = time.monotonic() + 6
        with suppress(ConnectionError):
            while time.monotonic() < deadline:
                trickle.sendall(drop)
                time.sleep(0.1)
        assert time.monotonic() < deadline, "it is still open"


def test_a_body_has_a_whole_deadline_however_steadily_it_comes(tmp_path: Path) -> None:
    with gateway(tmp_path, body_timeout_s="2", stall_timeout_s="1") as running:
        head = HEAD % b"/predict" + b"Content-Length: 1000000\r\n\r\n"
        with connect(running, head + multipart("file", b"")[:-11]) as steady:
            steady.settimeout(0.2)
            started, said = time.monotonic(), b""
            while not said and time.monotonic() - started < 20:
                steady.sendall(b"x" * 1000)
                try:
                    said = steady.recv(65_536)
                except TimeoutError:
                    continue
            assert said.startswith(b"HTTP/1.1 408 ")
            assert time.monotonic() - started > 1.5


def test_a_phone_on_a_bad_network_is_served(tmp_path: Path) -> None:
    settings = {"head_timeout_s": "3", "stall_timeout_s": "2", "min_transfer_rate": "500"}
    head = HEAD % b"/predict" + b"Content-Length: %d\r\n\r\n" % len(PHOTO)
    with gateway(tmp_path, **settings) as running, connect(running) as slow:
        for part in (head[:20], head[20:]):
            time.sleep(1)
            slow.sendall(part)
        for start in range(0, len(PHOTO), 1000):
            slow.sendall(PHOTO[start : start + 1000])
            time.sleep(1)
        assert slow.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert not limited(running)


def test_a_client_that_never_reads_its_answers_is_cut_off(hasty: Gateway) -> None:
    with socket.socket() as deaf:
        url = httpx.URL(hasty.url)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((url.host, url.port))
        deaf.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        deadline = time.monotonic() + 10
        while not limited(hasty)["answer_time"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@contextmanager
def few_files(count: int) -> Iterator[None]:
    """Let processes that are started in the block open so few files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_silent_connections_shut_nobody_out_of_a_process_with_few_descriptors(tmp_path: Path) -> None:
    with ExitStack() as held:
        with few_files(256):
            running = held.enter_context(gateway(tmp_path, head_timeout_s="600"))
        for _ in range(300):
            held.enter_context(connect(running))
        assert [ask(running).status_code for _ in range(5)] == [200] * 5
        assert psutil.Process(running.process.pid).num_fds() < 256
        assert limited(running)["idle_connections"] >= 100


def test_when_all_connections_have_a_request_a_new_one_is_refused_in_so_many_words(tmp_path: Path) -> None:
    with gateway(tmp_path, max_connections="5") as running, ExitStack() as held:
        half = HEAD % b"/predict" + b"Content-Length: 5000\r\n\r\n--cut\r\n"
        stalled = [held.enter_context(connect(running, half)) for _ in range(5)]
        time.sleep(0.5)
        said = answer(held.enter_context(connect(running)))
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 5\r\n" in head
        assert json.loads(body)["error"] == "Service unavailable"
        stalled[0].close()
        time.sleep(0.5)
        assert ask(running).status_code == 200


def test_stalled_batches_cost_their_budget_and_no_photo_its_verdict(tmp_path: Path) -> None:
    """45 MB of each batch arrive and the rest never; there is no folder for temporary files, and none is needed."""
    with gateway(tmp_path, TMPDIR="/dev/full") as running, ExitStack() as held:
        before = psutil.Process(running.process.pid).memory_info().rss
        head = HEAD % b"/predict/batch" + b"Content-Length: %d\r\n\r\n" % (50 * MIB)
        sent = multipart("files", bytes(45 * MIB))[: 45 * MIB]
        stop = Event()
        pool = held.enter_context(ThreadPoolExecutor(8))
        held.callback(stop.set)
        stalled = [pool.submit(stall, running, head, sent, stop) for _ in range(8)]
        deadline = time.monotonic() + 60
        while sum(each.done() for each in stalled) < 7:  # refused; the eighth waits
            assert time.monotonic() < deadline
            time.sleep(0.1)
        photo = multipart("file", picture("JPEG", (400, 300)) + bytes(3 * MIB))
        answers = [ask(running, content=photo) for _ in range(5)]
        assert [each.status_code for each in answers] == [200] * 5
        batch = ask(running, "/predict/batch", multipart("files", bytes(26 * MIB)))
        assert (batch.status_code, batch.headers["retry-after"]) == (503, "5")
        assert psutil.Process(running.process.pid).memory_info().rss - before < 130 * MIB
        stop.set()
        assert sorted(each.result() for each in stalled).count(b"HTTP/1.1 503") == 7


def stall(gateway: Gateway, head: bytes, sent: bytes, stop: Event) -> bytes:
    """Send most of a body, wait, and give back how the answer begins, if any came."""
    with connect(gateway, head) as connection:
        connection.settimeout(60)
        try:
            connection.sendall(sent)
        except OSError:
            return b"HTTP/1.1 503"  # hung up on, having sent far past the answer
        connection.settimeout(0.2)
        while not stop.is_set():
            try:
                return connection.recv(12)
            except TimeoutError:
                continue
        return b""


def test_honest_clients_on_one_connection_are_not_touched_by_any_of_it(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        url = httpx.URL(running.url)
        statuses = set()
        with closing(http.client.HTTPConnection(url.host, url.port or 0, timeout=10)) as kept:
            for _ in range(20):
                kept.request("POST", "/predict", PHOTO, FORM)
                response = kept.getresponse()
                response.read()
                statuses.add(response.status)
        assert statuses == {200}
        assert not limited(running)


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


async def test_a_body_is_no_head_and_many_heads_are_not_one() -> None:
    size = 4 * MAX_HEAD_BYTES
    large = [LINE + f"Content-Length: {size}\r\n\r\n".encode(), *[bytes(MAX_HEAD_BYTES * 2)] * 2]
    wire = await sent([*large, *[LINE[:20], LINE[20:] + b"X-Much: " + b"x" * 1000 + b"\r\n\r\n"] * 100])
    assert wire.written.count(b"HTTP/1.1 200 OK") == 101
    assert f"{size} bytes".encode() in wire.written


CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"


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


@pytest.mark.parametrize(
    "begun",
    [[LINE + b"X-Long: "], [CHUNKED, b"0\r\nX-Long: "], [CHUNKED, b"1;"]],
    ids=["head", "trailer", "chunk extension"],
)
async def test_what_is_no_body_has_an_end(begun: list[bytes]) -> None:
    wire = await sent([*begun, *[b"x" * 1024] * (MAX_HEAD_BYTES // 1024 + 100)])
    assert wire.written.count(b"HTTP/1.1 400 Bad Request") == 1
    assert wire.closed
