"""A gateway that records what it is sent, and a model server that is fast, both over real HTTP."""

import asyncio
import base64
import hashlib
import io
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

REFERENCE = Path(__file__).parents[2] / "model_store" / "reference.json"
VERSION = json.loads(REFERENCE.read_text())["model_version"]
"""That of the reference, so that the gateway compares with it."""
EVIDENCE = [{"type": "c2pa_source_type", "value": "trainedAlgorithmicMedia", "strength": "medium"}]
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
    return {**ANSWER, "heatmap_base64": base64.b64encode(heatmap(photo)).decode(), "evidence": EVIDENCE, **changes}


@dataclass(frozen=True)
class Received:
    photo: bytes
    filename: str | None
    headers: Mapping[str, str]
    query: Mapping[str, str]


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
            self.received.append(Received(photo, file.filename, request.headers, dict(request.query_params)))
        return self.refusal or JSONResponse(answer(photo, **self.changes))

    def reset(self) -> None:
        self.refusal = None
        self.changes = {}
        self.received = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/predict/explain", self.explain, methods=["POST"])])


@dataclass
class FakeTorchServe:
    """Predicts at once, by the photo's hash, so that the same photo always gets the same score."""

    port: int
    pause_s: float = 0.0

    async def predict(self, request: Request) -> Response:
        photo = await request.body()
        await asyncio.sleep(self.pause_s)
        verdict = predicted(photo)
        if request.url.path.startswith("/explanations/"):
            verdict["heatmap_base64"] = base64.b64encode(heatmap(photo)).decode()
        return JSONResponse(verdict)

    def app(self) -> Starlette:
        paths = ("/predictions/{model}", "/explanations/{model}")
        return Starlette(routes=[Route(path, self.predict, methods=["POST"]) for path in paths])


def predicted(photo: bytes) -> dict[str, Any]:
    probability = round(int(hashlib.sha256(photo).hexdigest()[:8], 16) / 0xFFFFFFFF, 4)
    distance = abs(probability - 0.5)
    return {
        "prediction": "ai_generated" if probability >= 0.5 else "real",
        "probability": probability,
        "confidence": "high" if distance > 0.3 else "low" if distance < 0.2 else "medium",
        "model_version": VERSION,
    }


@contextmanager
def served(app: Starlette, port: int) -> Iterator[None]:
    """Listen on the port, and on nothing afterwards."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(timeout=30)
