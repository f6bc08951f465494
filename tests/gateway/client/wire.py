"""A gateway behind `httpx.MockTransport`: what it is sent, and its bodies as its description shows them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from gateway import schemas
from gateway.client import AsyncClient, Client, Failure, GatewayError, Outcome, Verdict
from gateway.openapi import example

Handler = Callable[[httpx.Request], httpx.Response]
Outcomes = list[float | str]
URL = "http://gateway:8080"
PROBLEM = "urn:ai-product-photo-detector:error:"
_PART = re.compile(
    rb'name="files?"; filename="photo"\r\nContent-Type: application/octet-stream\r\n\r\n(.*?)\r\n--', re.DOTALL
)
PREDICTION = schemas.PredictionBody(**example(schemas.PredictionBody))
EXPLANATION = schemas.ExplanationBody(**example(schemas.ExplanationBody))
PREDICTION_WITH_EVIDENCE = schemas.PredictionBody(**example(schemas.PredictionBody, "evidence"))
EXPLANATION_WITH_EVIDENCE = schemas.ExplanationBody(**example(schemas.ExplanationBody, "evidence"))
COMPARISON = schemas.ComparisonBody(
    primary=PREDICTION,
    shadow=PREDICTION.model_copy(update={"probability": 0.82, "model_version": "1.0.1"}),
    agreement=True,
    difference=0.05,
    message=None,
)
HEALTHY = schemas.HealthBody(**example(schemas.HealthBody))
UNHEALTHY = HEALTHY.model_copy(update={"status": "unhealthy", "model_loaded": False})
HEALTHY_WITH_MODEL = schemas.HealthBody(**example(schemas.HealthBody, "model"))
MODEL_INFO = schemas.ModelInfo(**example(schemas.ModelInfo))
DRIFT = schemas.DriftBody(**example(schemas.DriftBody))
DRIFT_WITH_HISTOGRAM = schemas.DriftBody(**example(schemas.DriftBody, "histogram"))


def verdict(photo: bytes, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """A photo of the bytes b"12" has the probability 0.12."""
    probability = float(b"0." + photo)
    return {
        "prediction": "ai_generated" if probability >= 0.5 else "real",
        "probability": probability,
        "confidence": "high",
        "inference_time_ms": 45.2,
        "model_version": "1.0.0",
        **changes,
    }


def batch(photos: list[bytes]) -> dict[str, Any]:
    results = [item(photo) for photo in photos]
    failed = sum(result["error"] is not None for result in results)
    return {
        "results": results,
        "total": len(results),
        "successful": len(results) - failed,
        "failed": failed,
        "total_inference_time_ms": 89.5,
        "model_version": None if failed == len(results) else "1.0.0",
    }


def item(photo: bytes) -> dict[str, Any]:
    if not photo.isdigit():
        error = "Invalid image format: Supported formats: JPEG, PNG, WebP. Got: unknown"
        return {"filename": "photo", "prediction": None, "probability": None, "confidence": None, "error": error}
    found = verdict(photo)
    return {
        "filename": "photo",
        **{name: found[name] for name in ("prediction", "probability", "confidence")},
        "error": None,
    }


def refusal(status: int, code: str, detail: str = "Because.", **headers: str) -> httpx.Response:
    body = {"type": PROBLEM + code, "title": "No", "status": status, "detail": detail}
    return httpx.Response(status, json=body, headers={"X-Request-ID": "abc", **headers})


def photos_in(request: httpx.Request) -> list[bytes]:
    return _PART.findall(request.content)


@dataclass
class Gateway:
    """Predicts as documented, after the answers in `first` are used up; an exception there is a broken connection."""

    first: list[httpx.Response | type[httpx.TransportError]] = field(default_factory=list)
    most: int = 10
    asked: list[tuple[str, list[bytes]]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/healthz":
            return httpx.Response(200, json={"alive": True})
        photos = photos_in(request)
        self.asked.append((request.url.path, photos))
        self.keys.append(request.headers.get("X-API-Key"))
        if self.first:
            answer = self.first.pop(0)
            if isinstance(answer, httpx.Response):
                return answer
            raise answer("somewhere inside", request=request)
        if len(photos) > self.most:
            return refusal(400, "too_many_files")
        if request.url.path == "/predict/batch":
            return httpx.Response(200, json=batch(photos))
        if not photos[0].isdigit():
            return refusal(400, "invalid_image_format")
        return httpx.Response(200, json=verdict(photos[0]))


def client(handler: Handler, **options: Any) -> Client:  # noqa: ANN401 - any of the client's
    return Client(options.pop("url", URL), transport=httpx.MockTransport(handler), **options)


def sync_call(handler: Handler, name: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - any method
    with client(handler) as opened:
        answer = getattr(opened, name)(*arguments, **options)
        return list(answer) if name == "check" else answer


def async_call(handler: Handler, name: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - any method
    async def call() -> Any:  # noqa: ANN401 - any method's answer
        async with AsyncClient(URL, transport=httpx.MockTransport(handler)) as opened:
            answer = getattr(opened, name)(*arguments, **options)
            return [outcome async for outcome in answer] if name == "check" else await answer

    return asyncio.run(call())


def short(outcomes: Iterable[Outcome]) -> Outcomes:
    """Probabilities, and the codes of failures."""
    return [one.probability if isinstance(one, Verdict) else one.error.code for one in outcomes]


def error_of(outcome: Outcome) -> GatewayError:
    assert isinstance(outcome, Failure)
    return outcome.error
