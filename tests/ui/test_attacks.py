"""What a stranger can send to the page's real process: nothing of it reads, deletes, fetches or exhausts anything."""

import asyncio
import json
import os
import re
import socket
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import httpx
import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from tests.gateway.command.service import served
from tests.ui.browsers import WAIT_S
from tests.ui.conftest import PageProcess, running_page
from tests.ui.fakes import FakeGateway, jpeg
from tests.ui.photos import flat, scans, scene
from ui.guard import Guard, Sessions
from ui.photos import PhotoShelf
from ui.settings import Settings

MIB = 1024 * 1024
SMALL = 24 * MIB
META = {"_type": "gradio.FileData"}
ONE, MANY = "check", "check_1"
CHOOSE_ONE, CHOOSE_MANY = "choose", "choose_1"
SESSION = "a-session"


@pytest.fixture
def server(page_address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=page_address, trust_env=False, timeout=WAIT_S) as client:
        yield client


def described(path: Path) -> dict[str, Any]:
    return {"path": str(path), "orig_name": path.name, "meta": META}


def asked(address: str, name: str, data: list[Any], session: str = SESSION) -> list[dict[str, Any]]:
    """Trigger an event by its function's name, as the page does, and return what the server says of it."""
    with httpx.Client(base_url=address, trust_env=False, timeout=WAIT_S) as server:
        events = {event["api_name"]: event["id"] for event in server.get("/config").json()["dependencies"]}
        body = {"data": data, "fn_index": events[name], "session_hash": session}
        assert server.post("/gradio_api/queue/join", json=body).status_code == 200
        with server.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as answer:
            lines = [json.loads(line.removeprefix("data:")) for line in answer.iter_lines() if line.startswith("data:")]
    return [line for line in lines if line["msg"] in {"process_completed", "process_generating"}]


def uploaded(address: str, photo: Path) -> Path:
    files = {"files": (photo.name, photo.read_bytes(), "image/png")}
    (path,) = httpx.post(f"{address}/gradio_api/upload", files=files, trust_env=False, timeout=WAIT_S).json()
    return Path(path)


def send(address: str, event: str, upload: dict[str, Any] | None) -> list[tuple[bool, str]]:
    """Trigger an event for one photo, or for a list of it, and return what a browser would show."""
    many = event in {MANY, CHOOSE_MANY}
    data = [[upload] if many and upload else upload] + ([""] if event in {ONE, MANY} else [])
    steps = asked(address, event, data)
    return [(step["success"], re.sub(r'"(average_)?duration": [^,}]+', "", str(step["output"]))) for step in steps][-1:]


def small(photo: Path) -> Path:
    photo.write_bytes(jpeg(scene(80, 60)))
    return photo


def test_an_upload_is_predicted_and_several_are_taken_together(
    page_address: str, gateway: FakeGateway, tmp_path: Path
) -> None:
    photo = small(tmp_path / "mine.jpg")
    for event in (ONE, MANY):
        ((success, _),) = send(page_address, event, described(uploaded(page_address, photo)))
        assert success
    assert [received.photo for received in gateway.received] == [photo.read_bytes()] * 2


@pytest.mark.parametrize("events", [(CHOOSE_ONE, ONE), (CHOOSE_MANY, MANY)], ids=["one", "many"])
def test_a_file_of_this_machine_is_neither_read_nor_deleted(
    page_address: str, gateway: FakeGateway, tmp_path: Path, events: tuple[str, str]
) -> None:
    choose, check = events
    mine = small(tmp_path / "mine.jpg")
    for path in (mine, Path("/etc/passwd"), tmp_path / ".." / tmp_path.name / "mine.jpg"):
        bare = {"path": str(path), "orig_name": "mine.jpg"}
        for upload in (bare, {**bare, "meta": META}):
            for event, value in ((choose, upload), (check, upload), (choose, None)):
                send(page_address, event, value)
    assert (mine.is_file(), gateway.received) == (True, [])


def test_no_event_takes_a_value_that_it_has_no_field_for(server: httpx.Client, page_address: str) -> None:
    for event in server.get("/config").json()["dependencies"]:
        if event["backend_fn"]:
            said = asked(page_address, event["api_name"], [*[None] * len(event["inputs"]), "/etc/passwd"])
            assert "passwd" not in str(said), event["api_name"]


@pytest.mark.parametrize("check", [ONE, MANY])
def test_no_answer_tells_whether_a_file_is_there(page_address: str, tmp_path: Path, check: str) -> None:
    there, absent = small(tmp_path / "a.jpg"), tmp_path / "b.jpg"
    answers = [send(page_address, check, {"path": str(path), "orig_name": "x"}) for path in (there, absent)]
    assert answers[0] == answers[1]
    assert str(tmp_path) not in str(answers)


def test_another_sessions_photo_outlives_whoever_else_names_it(page_address: str, tmp_path: Path) -> None:
    photo = uploaded(page_address, small(tmp_path / "theirs.jpg"))
    asked(page_address, CHOOSE_ONE, [described(photo)], session="theirs")
    for value in (described(photo), None):
        asked(page_address, CHOOSE_ONE, [value], session="mine")
    assert photo.is_file()
    asked(page_address, CHOOSE_ONE, [None], session="theirs")
    assert not photo.exists()


@pytest.mark.parametrize("event", [CHOOSE_ONE, ONE, CHOOSE_MANY, MANY])
def test_no_address_is_fetched(page_address: str, gateway: FakeGateway, tmp_path: Path, event: str) -> None:
    got = list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        got.append(request)
        return httpx.Response(404)

    with served(answer) as address:
        url = f"{address}/photo.jpg"
        photo = str(small(tmp_path / "mine.jpg"))
        for fields in (
            {"path": url},
            {"path": url, "meta": META},
            {"url": url, "meta": META},
            {"path": photo, "url": url, "meta": META},
            {"path": f"file://{photo}", "meta": META},
            {"path": "data:image/png;base64,AAAA", "url": "data:image/png;base64,AAAA", "meta": META},
        ):
            send(page_address, event, fields)
    assert (got, gateway.received) == ([], [])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/file=http://127.0.0.1:1/x.jpg"),
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/gradio_api/proxy=http://127.0.0.1:1/"),
        ("GET", "/gradio_api/custom_component/a/client/b/c"),
        ("GET", "/gradio_api/stream/a/b/1/playlist-file"),
        ("GET", "/gradio_api/call/check/1"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/gradio_api/deep_link?session_hash=a"),
        ("GET", "/monitoring"),
        ("POST", "/gradio_api/run/check"),
        ("POST", "/gradio_api/api/check"),
        ("POST", "/gradio_api/call/check"),
        ("POST", "/gradio_api/call/v2/check"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/stream/1"),
        ("POST", "/gradio_api/cancel"),
        ("POST", "/gradio_api/vibe-code/"),
        ("POST", "/login"),
    ],
)
def test_what_the_page_does_not_ask_for_is_not_there(server: httpx.Client, method: str, path: str) -> None:
    body = {"data": [{"path": "/etc/passwd"}]} if method == "POST" else None
    assert server.request(method, path, json=body).status_code == 404


def test_only_the_pages_own_names_and_pages_are_answered(server: httpx.Client) -> None:
    join = "/gradio_api/queue/join"
    for host in ("evil.example", "localhost.evil.example", "a@127.0.0.1", ""):
        assert server.get("/", headers={"Host": host}).status_code == 400, host
        assert server.post(join, json={}, headers={"Host": host}).status_code == 400, host
    assert server.get("/", headers={"X-Forwarded-Host": "evil.example"}).status_code == 400
    for origin in ("https://evil.example", "null"):
        assert server.post(join, json={}, headers={"Origin": origin}).status_code == 403
    for host in ("localhost:7860", "LOCALHOST", "[::1]:7860", "127.0.0.1"):
        assert server.get("/", headers={"Host": host}).status_code == 200, host


@pytest.mark.parametrize("path", ["/", "/config", "/nothing", "/gradio_api/file=/etc/passwd", "/theme.css"])
def test_every_answer_has_the_headers_that_keep_other_sites_out(server: httpx.Client, path: str) -> None:
    headers = server.get(path).headers
    assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"]) == ("DENY", "nosniff")
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"data": [], "fn_index": 9999, "session_hash": "a"}',
        b'{"data": [], "fn_index": 1, "session_hash": "%s"}' % (b"a" * 1000),
        b'{"data": [%s], "fn_index": 1, "session_hash": "a"}' % b",".join([b"[]"] * 1000),
        b'{"data": [[%s]], "fn_index": 1, "session_hash": "a"}' % b",".join([b"{}"] * 5000),
        b'{"data": [{"path": "\\ud800"}], "fn_index": 1, "session_hash": "a"}',
        b"\xff",
    ],
)
def test_an_event_that_the_page_never_sends_is_refused(server: httpx.Client, body: bytes) -> None:
    answer = server.post("/gradio_api/queue/join", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text


def test_bodies_have_an_end(server: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        yield b"{"

    def declared(path: str, size: int) -> bytes:
        with socket.create_connection((server.base_url.host, server.base_url.port or 0), timeout=WAIT_S) as connection:
            connection.sendall(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                f"Content-Length: {size}\r\n\r\n".encode()
            )
            return connection.recv(100).split(b"\r\n")[0]

    assert b" 413 " in declared("/gradio_api/queue/join", 60 * MIB)
    assert b" 413 " in declared("/gradio_api/upload", 1 << 50)
    for path in ("/gradio_api/queue/join", "/gradio_api/upload"):
        assert server.post(path, content=endless()).status_code == 411


def wide_png() -> bytes:
    """177 megapixels in half a megabyte, written row by row."""
    side = 13_304
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + 3 * side)) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def memory(page: PageProcess, field: str = "VmRSS") -> int:
    """Megabytes of the page's process."""
    status = Path(f"/proc/{page.process.pid}/status").read_text()
    (found,) = re.findall(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found) // 1024


@pytest.fixture(scope="module")
def small_page(silent_gateway: FakeGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageProcess]:
    """A page with little room and patience, behind a proxy."""
    settings = {"UI_PHOTOS_MAX_BYTES": str(SMALL), "UI_ROOT_PATH": "/photos", "UI_ALLOWED_HOSTS": "*.example.com"}
    gateway_url = f"http://127.0.0.1:{silent_gateway.port}"
    with running_page(tmp_path_factory.mktemp("small"), gateway_url, head_s=2, **settings) as page:
        yield page


@pytest.mark.parametrize(
    "made",
    [wide_png, partial(flat, 5000, "PNG", "RGBA"), partial(flat, 4000, "WEBP", "RGB"), partial(scans, 400)],
    ids=["png", "png-clear", "webp", "scans"],
)
def test_a_bomb_is_not_drawn_even_with_a_verdict(
    tmp_path: Path, gateway: FakeGateway, small_page: PageProcess, made: Callable[[], bytes]
) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(made())
    assert bomb.stat().st_size < 4 * MIB
    send(small_page.address, CHOOSE_ONE, None)  # what the first event of a page takes is no matter of the bomb
    for event in (ONE, MANY):
        data = described(uploaded(small_page.address, bomb))
        gateway.reset()
        Path(f"/proc/{small_page.process.pid}/clear_refs").write_text("5")  # forgets the peak
        before, began = memory(small_page), time.monotonic()
        (last,) = send(small_page.address, event, data)
        assert (last[0], len(gateway.received)) == (True, 1)
        assert memory(small_page, "VmHWM") - before < 60
        assert time.monotonic() - began < 10


def test_a_full_upload_folder_is_a_503_and_its_photos_stay(small_page: PageProcess) -> None:
    kept: list[Path] = []
    for _ in range(SMALL // MIB):
        form = {"files": ("photo.jpg", os.urandom(2 * MIB))}
        answer = httpx.post(f"{small_page.address}/gradio_api/upload", files=form, trust_env=False, timeout=WAIT_S)
        if answer.status_code == 503:
            break
        kept += map(Path, answer.json())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert len(kept) >= 4
    assert all(photo.is_file() for photo in kept)
    for photo in kept:
        photo.unlink()


def test_a_proxy_may_serve_the_page_below_a_path_and_cut_it_off_or_not(small_page: PageProcess) -> None:
    headers = {"Host": "shop.example.com", "X-Forwarded-Proto": "https"}
    with httpx.Client(base_url=small_page.address, trust_env=False, timeout=WAIT_S) as server:
        for path in ("/", "/photos/"):
            assert '"root":"https://shop.example.com/photos"' in server.get(path, headers=headers).text
        assert server.get("/photos/theme.css", headers=headers).text == server.get("/theme.css").text
        assert server.get("/photos", headers=headers).headers["Location"] == "/photos/"
        behind = {"Host": "127.0.0.1:7860", "X-Forwarded-Host": "shop.example.com"}
        assert '"root":"http://shop.example.com/photos"' in server.get("/", headers=behind).text


def test_a_connection_whose_head_does_not_come_is_closed(small_page: PageProcess) -> None:
    address = httpx.URL(small_page.address)
    with ExitStack() as opened:
        connections = []
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: "):
            connection = socket.create_connection((address.host, address.port or 0), timeout=WAIT_S)
            connections.append(opened.enter_context(connection))
            connection.sendall(sent)
        assert [connection.recv(100) for connection in connections] == [b"", b""]


def test_a_body_that_does_not_come_is_a_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.guard.IDLE_S", 0.2)
    page, settings = blocks({}), Settings()

    async def reader(scope: Scope, receive: Receive, _: Send) -> None:
        await Request(scope, receive).body()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"--x\r\n"
        await asyncio.sleep(WAIT_S)

    async def status(path: str) -> int:
        guard = Guard(reader, page, Sessions(page), PhotoShelf(tmp_path, MIB, MIB * 10), settings)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://localhost") as server:
            return (await server.post(path, content=stalled(), headers={"Content-Length": "1000"})).status_code

    assert [asyncio.run(status(f"/gradio_api/{route}")) for route in ("upload", "queue/join")] == [408, 408]


def test_sessions_whose_answers_nobody_reads_are_few_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.guard.SESSIONS_MAX", 2)
    pending: dict[str, object] = {"read": None, "unread": None}
    sessions = Sessions(blocks(pending))
    assert [sessions.has_room(name) for name in ("read", "another")] == [True, False]

    async def forget_twice() -> None:
        with sessions.read("read"):
            await sessions.forget()
            assert len(pending) == 2  # its reader may be on the way
            await sessions.forget()

    asyncio.run(forget_twice())
    assert (list(pending), sessions.has_room("another")) == (["read"], True)


def blocks(pending: dict[str, object]) -> gr.Blocks:
    """What the page's guard knows of Gradio, which in a test's own process leaves loops and threads behind."""

    async def clean_events(session_hash: str) -> None:
        assert session_hash in pending

    queue = SimpleNamespace(
        pending_messages_per_session=pending, pending_event_ids_session={}, clean_events=clean_events
    )
    return cast("gr.Blocks", SimpleNamespace(fns={}, upload_file_set=set(), _queue=queue))
