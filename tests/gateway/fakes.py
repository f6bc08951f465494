"""A TorchServe without a network, pictures, and a bare ASGI client for what a well-behaved client cannot do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx
from PIL import Image
from starlette.applications import Starlette
from starlette.types import Message

from gateway.services import Services

Handler = Callable[[httpx.Request], Awaitable[httpx.Response]]

VERDICT = {"prediction": "ai_generated", "probability": 0.87, "confidence": "high", "model_version": "1.0.0"}
REAL = {"prediction": "real", "probability": 0.12, "confidence": "high", "model_version": "1.0.0"}
HEATMAP = "/9j/4AAQ"


def inputs_of(image: bytes) -> dict[str, float]:
    """Statistics as the handler sends them; none for what is no image."""
    try:
        with Image.open(BytesIO(image)) as opened:
            width, height = opened.size
    except Exception:  # noqa: BLE001 - the fuzz test sends what Pillow raises nearly anything on
        return {}
    area = width * height
    sizes = {"width": float(width), "height": float(height), "megapixels": area / 1e6}
    return sizes | {"bytes_per_pixel": len(image) / area, "brightness": 90.0, "sharpness": 0.0}


class TorchServe:
    """Answers as the wire protocol says, unless a test replaces `handler`; keeps the requests it got."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.handler: Handler = self.predict

    async def serve(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await self.handler(request)

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.serve)

    def always(self, status: int, body: object = None) -> None:
        async def handler(_: httpx.Request) -> httpx.Response:
            return httpx.Response(status) if body is None else httpx.Response(status, json=body)

        self.handler = handler

    def after(self, seconds: float) -> None:
        async def handler(_: httpx.Request) -> httpx.Response:
            await asyncio.sleep(seconds)
            return httpx.Response(200, json=VERDICT)

        self.handler = handler

    def down(self) -> None:
        async def handler(_: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused")

        self.handler = handler

    @staticmethod
    async def predict(request: httpx.Request) -> httpx.Response:
        explained = request.url.path.startswith("/explanations/")
        answer = VERDICT | {"inputs": inputs_of(request.content)} | ({"heatmap_base64": HEATMAP} if explained else {})
        return httpx.Response(200, json=answer)


def picture(kind: str, size: tuple[int, int] = (64, 48), colour: str = "teal") -> bytes:
    buffer = BytesIO()
    image = Image.new("RGB", size, colour)
    options = {"save_all": True, "append_images": [image.copy()]} if kind == "MPO" else {}
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def upload(data: bytes, name: str = "photo.jpg") -> tuple[str, bytes, str]:
    return (name, data, "image/jpeg")


def multipart(field_name: str, data: bytes, boundary: str = "cut") -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field_name}"; filename="a.jpg"\r\n\r\n'
    return head.encode() + data + f"\r\n--{boundary}--\r\n".encode()


@dataclass
class BareClient:
    """One raw POST to an application: chosen headers, chunks as they are, and a hang-up at will."""

    app: Starlette
    path: str
    chunks: Iterable[bytes]
    headers: dict[str, str] = field(default_factory=dict)
    chunks_read: int = 0
    status: int | None = None
    answer_headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    services: Services = field(init=False)
    hang_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        self._left = list(self.chunks)
        headers = {"content-type": "multipart/form-data; boundary=cut"} | self.headers
        async with self.app.router.lifespan_context(self.app) as state:
            scope: dict[str, Any] = {
                "type": "http",
                "method": "POST",
                "path": self.path,
                "query_string": b"",
                "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
                "state": dict(state or {}),
            }
            self.services = scope["state"]["services"]
            await self.app(scope, self._receive, self._send)

    def json(self) -> Any:  # noqa: ANN401 - JSON is anything
        return json.loads(self.body)

    async def _receive(self) -> Message:
        if self._left:
            self.chunks_read += 1
            return {"type": "http.request", "body": self._left.pop(0), "more_body": bool(self._left)}
        await self.hang_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answer_headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")
