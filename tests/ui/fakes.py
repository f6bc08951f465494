"""A gateway that records what it is sent and answers as the contract says, served over real HTTP."""

import base64
import io
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ANSWER = {
    "prediction": "ai_generated",
    "probability": 0.87,
    "confidence": "high",
    "inference_time_ms": 120.5,
    "model_version": "1.0.0",
}


def jpeg(image: Image.Image, **options: int | Image.Exif) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def heatmap(photo: bytes) -> bytes:
    """The photo upright, long side at most 512, with a warm spot on it."""
    with Image.open(io.BytesIO(photo)) as image:
        picture = ImageOps.exif_transpose(image).convert("RGB")
    picture.thumbnail((512, 512))
    width, height = picture.size
    spot = Image.new("L", picture.size)
    ImageDraw.Draw(spot).ellipse((width * 0.3, height * 0.25, width * 0.75, height * 0.8), fill=170)
    warm = Image.new("RGB", picture.size, (240, 60, 20))
    return jpeg(Image.composite(warm, picture, spot.filter(ImageFilter.GaussianBlur(width / 14))))


def answer(photo: bytes, **changes: object) -> dict[str, Any]:
    return {**ANSWER, "heatmap_base64": base64.b64encode(heatmap(photo)).decode(), **changes}


@dataclass(frozen=True)
class Received:
    photo: bytes
    filename: str | None
    headers: Mapping[str, str]


@dataclass
class FakeGateway:
    """`refusal` answers in place of the verdict; `changes` alter fields of the verdict."""

    port: int
    refusal: Response | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    async def explain(self, request: Request) -> Response:
        async with request.form() as form:
            file = form["file"]
            assert isinstance(file, UploadFile)
            photo = await file.read()
            self.received.append(Received(photo, file.filename, request.headers))
        return self.refusal or JSONResponse(answer(photo, **self.changes))

    def reset(self) -> None:
        self.refusal = None
        self.changes = {}
        self.received = []


@contextmanager
def served(gateway: FakeGateway) -> Iterator[None]:
    """Listen on the gateway's port, and on nothing afterwards."""
    app = Starlette(routes=[Route("/predict/explain", gateway.explain, methods=["POST"])])
    with socket.create_server(("127.0.0.1", gateway.port)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(timeout=30)
