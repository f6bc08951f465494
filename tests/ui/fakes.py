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
from PIL import Image
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

REFERENCE = Path(__file__).parents[2] / "model_store" / "reference.json"
VERSION = json.loads(REFERENCE.read_text())["model_version"]
"""That of the reference, so that the gateway compares with it."""
VERDICT = {"prediction": "ai_generated", "probability": 0.87, "confidence": "high"}


def jpeg(image: Image.Image, **options: int | Image.Exif) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


HEATMAP = base64.b64encode(jpeg(Image.new("RGB", (450, 300), "orange"))).decode()


@dataclass(frozen=True)
class Received:
    photo: bytes
    filename: str | None
    headers: Mapping[str, str]
    query: Mapping[str, str]


@dataclass
class FakeGateway:
    """Has the same verdict for whatever comes; `refusal` answers in its place."""

    port: int
    refusal: Response | None = None
    received: list[Received] = field(default_factory=list)

    async def predict(self, request: Request) -> Response:
        async with request.form() as form:
            files = [file for _, file in form.multi_items() if isinstance(file, UploadFile)]
            self.received += [
                Received(await file.read(), file.filename, request.headers, dict(request.query_params))
                for file in files
            ]
        if self.refusal:
            return self.refusal
        count, version = len(files), {"model_version": "1.0.0"}
        if request.url.path == "/predict/explain":
            statement = {"type": "c2pa_source_type", "value": "trainedAlgorithmicMedia", "strength": "medium"}
            evidence = {"heatmap_base64": HEATMAP, "inference_time_ms": 120.5, "evidence": [statement]}
            return JSONResponse(VERDICT | version | evidence)
        results = [VERDICT | {"filename": "photo", "error": None}] * count
        total = {"total": count, "successful": count, "failed": 0, "total_inference_time_ms": 1.0}
        return JSONResponse({"results": results} | total | version)

    def reset(self) -> None:
        self.refusal = None
        self.received = []

    def app(self) -> Starlette:
        paths = ("/predict/explain", "/predict/batch")
        return Starlette(routes=[Route(path, self.predict, methods=["POST"]) for path in paths])


@dataclass
class FakeTorchServe:
    """Predicts at once, by the photo's hash, so that the same photo always gets the same score."""

    port: int
    pause_s: float = 0.0

    async def predict(self, request: Request) -> Response:
        photo = await request.body()
        await asyncio.sleep(self.pause_s)
        heatmap = {"heatmap_base64": HEATMAP} if request.url.path.startswith("/explanations/") else {}
        return JSONResponse(predicted(photo) | heatmap)

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
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(timeout=30)
