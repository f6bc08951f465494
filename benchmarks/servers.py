"""What the gateway is compared with, as uvicorn runs it: the null back end and a bare Starlette echo."""

from __future__ import annotations

import json
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

VERDICT: Final = json.dumps(
    {
        "prediction": "ai_generated",
        "probability": 0.87,
        "confidence": "high",
        "model_version": "1.0.0",
        "inputs": {
            "width": 600.0,
            "height": 400.0,
            "megapixels": 0.24,
            "bytes_per_pixel": 0.4375,
            "brightness": 103.6499,
            "sharpness": 1301.3718199497428,
        },
    }
).encode()
HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", str(len(VERDICT)).encode())]


async def null_model(scope: Scope, receive: Receive, send: Send) -> None:
    """Read any request and return TorchServe's response to a prediction at once."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": VERDICT})


async def _count(request: Request) -> JSONResponse:
    async with request.form() as form:
        upload = form["file"]
        size = len(await upload.read()) if isinstance(upload, UploadFile) else 0
    return JSONResponse({"bytes": size})


echo = Starlette(routes=[Route("/predict", _count, methods=["POST"])])
