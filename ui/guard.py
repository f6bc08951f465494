"""What stands before Gradio: who may ask, for what, and how much of it; everything else Gradio never hears of."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qs

import gradio as gr
from gradio.routes import file_upload_statuses
from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.client import PhotoUnreadableError
from ui.photos import NoRoom, PhotoShelf, room_of
from ui.settings import Settings

SESSIONS_MAX = 512
STATES_MAX = 64
EVENTS_AT_ONCE = 8
EVENTS_WAITING_MAX = 32
API = "/gradio_api"
JOIN, DATA, UPLOAD, FILE = f"{API}/queue/join", f"{API}/queue/data", f"{API}/upload", f"{API}/file="
PROGRESS, HEARTBEAT = f"{API}/upload_progress", f"{API}/heartbeat/"
# All that the page's own script asks for; `/config` and `/info` are for Gradio's clients.
GETS = {"/", "/config", "/favicon.ico", "/manifest.json", "/robots.txt", "/theme.css", f"{API}/info", DATA, PROGRESS}
GETS_BELOW = ("/assets/", "/static/", HEARTBEAT, FILE)
PATH_MAX_BYTES = 4096
QUERY_MAX_BYTES = 200
JOIN_MAX_BYTES = 2 * 1024 * 1024  # a thousand photos with long names
JOINS_MAX_BYTES = 16 * 1024 * 1024  # of all that are being read
ROOM_STEP = 1024 * 1024
IDLE_S = 30.0
BYTES_PER_S = 8 * 1024  # slower than any phone's worst network
LATER = {"Retry-After": "30"}
ADDRESS = re.compile(r"(?:https?://)?(?P<host>\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::\d+)?")
HEADERS = {
    "Cache-Control": "no-store",
    # Gradio's script compiles the page's own, and draws its styles in place.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self' data: blob:; manifest-src 'self'; worker-src 'self' blob:; base-uri 'self'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
ASSETS = {"Cache-Control": "public, max-age=604800"}  # a file's name changes with it
INERT = {"Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'"}


class Sessions:
    """The sessions of a page: who reads the answers to its events, and which are over."""

    def __init__(self, page: gr.Blocks) -> None:
        self._page = page
        self._readers: Counter[str] = Counter()
        self._unread: set[str] = set()

    def has_room(self, session: str) -> bool:
        """Whether an event of the session can be taken."""
        known = self._page._queue.pending_messages_per_session  # noqa: SLF001  # Gradio has no other way
        return session in known or len(known) < SESSIONS_MAX

    @contextmanager
    def read(self, session: str) -> Iterator[None]:
        """Note that somebody reads the session's answers."""
        self._readers[session] += 1
        try:
            yield
        finally:
            self._readers[session] -= 1
            self._readers += Counter()  # forgets those without any

    async def forget(self) -> None:
        """Forget the sessions whose answers nobody has read since the last time, and what Gradio counts for nobody."""
        queue = self._page._queue  # noqa: SLF001
        unread = set(queue.pending_messages_per_session) - set(self._readers)
        for session in unread & self._unread:
            await queue.clean_events(session_hash=session)
            queue.pending_messages_per_session.pop(session, None)
        self._unread = unread
        for session in set(queue.pending_event_ids_session) - set(queue.pending_messages_per_session):
            queue.pending_event_ids_session.pop(session, None)
        self._page.upload_file_set.clear()
        file_upload_statuses._statuses.clear()  # noqa: SLF001
        file_upload_statuses._signals.clear()  # noqa: SLF001


class Upload(BaseModel):
    """A file, as an event names it; Gradio would fetch a `url`, and copy what carries its mark."""

    path: str | None = None
    orig_name: Annotated[str, Field(max_length=1024)] | None = None


# More photos than the page checks at once, so that its own words for it are heard.
Uploads = Annotated[list[Upload], Field(max_length=2000)]
Value = Upload | Uploads | Annotated[str, Field(max_length=1024)] | None


class Event(BaseModel):
    """What the page's own script sends for an event, and no more."""

    session_hash: str = Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")
    fn_index: int
    data: list[Value] = Field(max_length=8)


class Guard:
    """ASGI around Gradio's."""

    def __init__(
        self, app: ASGIApp, page: gr.Blocks, sessions: Sessions, shelf: PhotoShelf, settings: Settings
    ) -> None:
        self._app = app
        self._events = page.fns
        self._shelf = shelf
        self._settings = settings
        self._sessions = sessions
        self._joining = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = HEADERS | (INERT if FILE in scope["path"] else ASSETS if "/assets/" in scope["path"] else {})

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in headers.items():
                    own.setdefault(name, value)
                if message["status"] >= HTTPStatus.BAD_REQUEST:
                    own["Connection"] = "close"  # what is left of the body is not read
            await send(message)

        try:
            await self._serve(scope, receive, answer)
        except HTTPException as refusal:
            await PlainTextResponse(refusal.detail, refusal.status_code, refusal.headers)(scope, receive, answer)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._check_names(scope["method"], headers)
        root, path = self._settings.root_path, scope["path"]
        if root and path == root:
            await RedirectResponse(f"{root}/")(scope, receive, send)
            return
        # Some proxies cut the sub-path off, and some leave it.
        if root and path.startswith(f"{root}/"):
            path = path.removeprefix(root)
            scope = {**scope, "path": path, "raw_path": scope["raw_path"].removeprefix(root.encode())}
        if len(scope["raw_path"]) > PATH_MAX_BYTES or len(scope["query_string"]) > QUERY_MAX_BYTES:
            raise HTTPException(414, "The address is too long.")
        match scope["method"], path:
            case "POST", _ if path == JOIN:
                await self._join(scope, receive, send)
            case "POST", _ if path == UPLOAD:
                await self._upload(scope, receive, send)
            case "GET" | "HEAD", _ if path in GETS or path.startswith(GETS_BELOW):
                await self._get(scope, receive, send)
            case _:
                raise HTTPException(404, "Not found.")

    def _check_names(self, method: str, headers: Headers) -> None:
        for name in ("Host", "X-Forwarded-Host"):
            given = headers.get(name)
            if (given is not None or name == "Host") and not self._knows((given or "").split(",")[0]):
                raise HTTPException(
                    400, f"The page does not answer to this {name}: UI_ALLOWED_HOSTS names those it does."
                )
        origin = headers.get("Origin")
        if method == "POST" and origin is not None and not self._knows(origin):
            raise HTTPException(403, "Another site's page may not use this one.")

    def _knows(self, address: str) -> bool:
        found = ADDRESS.fullmatch(address.strip().lower())
        if found is None:
            return False
        host = found["host"].strip("[]")
        return any(
            name in {"*", host} or (name.startswith("*.") and host.endswith(name[1:]))
            for name in self._settings.allowed_hosts
        )

    async def _get(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
            raise HTTPException(400, "A GET has no body.")
        if path.startswith(FILE):
            try:
                self._shelf.find({"path": path.removeprefix(FILE)})
            except (PhotoUnreadableError, gr.Error) as error:
                raise HTTPException(404, "Not found.") from error
        if path != DATA:
            await self._app(scope, receive, send)
            return
        session = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        with self._sessions.read(session):
            await self._app(scope, receive, send)

    async def _join(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _length(Headers(scope=scope)) > JOIN_MAX_BYTES:
            raise HTTPException(413, "This is more than the page ever sends.")
        body = self._cleaned(await self._read(_timed(receive)))
        raw = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        scope = {**scope, "headers": [*raw, (b"content-length", str(len(body)).encode())]}
        left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return left.pop() if left else await receive()

        await self._app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise HTTPException(400, "The request was interrupted.")
                parts.append(message.get("body", b""))
                self._joining += len(parts[-1])
                if self._joining > JOINS_MAX_BYTES:
                    raise HTTPException(503, "The page is busy: try again in a moment.", LATER)
                if not message.get("more_body"):
                    return b"".join(parts)
        finally:
            self._joining -= sum(map(len, parts))

    def _cleaned(self, body: bytes) -> bytes:
        """Keep of an event what the page's own script sends: nothing in it makes Gradio open or fetch anything."""
        try:
            event = Event.model_validate_json(body)
        except ValidationError as error:
            raise HTTPException(400, "The page never sends this.") from error
        if event.fn_index not in self._events:
            raise HTTPException(400, "The page has no such event.")
        if not self._sessions.has_room(event.session_hash):
            raise HTTPException(503, "Too many people use the page: try again in a moment.", LATER)
        return event.model_dump_json().encode()

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _length(Headers(scope=scope)) > self._settings.photos_max_bytes:
            raise HTTPException(413, "These are more photos than the page holds: send fewer at once.")
        await asyncio.to_thread(self._shelf.recount)
        timed, came, reserved = _timed(receive), 0, 0

        # Room for what has come, not for what was declared: whoever sends nothing takes none from others.
        async def housed() -> Message:
            nonlocal came, reserved
            message = await timed()
            came += len(message.get("body", b""))
            if (needed := room_of(came)) > reserved:
                try:
                    reserved += await asyncio.to_thread(self._shelf.reserve, needed - reserved + ROOM_STEP)
                except NoRoom as error:
                    full = "The page holds as many photos as it can: try again in a minute."
                    raise HTTPException(503, full, LATER) from error
            return message

        try:
            await self._app(scope, housed, send)
        finally:
            self._shelf.release(reserved)


def _length(headers: Headers) -> int:
    declared = headers.get("Content-Length", "")
    if not declared.isdecimal():
        raise HTTPException(411, "The request must declare its length.")
    return int(declared)


def _timed(receive: Receive) -> Receive:
    """Wait for a body as long as a slow network takes, and not for ever."""
    loop = asyncio.get_running_loop()
    began, came, whole = loop.time(), 0, False

    async def timed() -> Message:
        nonlocal came, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout_at(min(loop.time(), began + came / BYTES_PER_S) + IDLE_S):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408, "The request came too slowly.") from error
        came += len(message.get("body", b""))
        whole = not message.get("more_body")
        return message

    return timed
