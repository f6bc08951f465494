"""What each route is for, what it takes and what it answers: one entry a route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel

from gateway.documentation.examples import (
    BATCH,
    COMPARISON,
    DRIFT,
    DRIFT_WITH_HISTOGRAM,
    EXPLANATION,
    EXPLANATION_WITH_EVIDENCE,
    HEALTHY,
    HEALTHY_WITH_MODEL,
    PREDICTION,
    PREDICTION_WITH_EVIDENCE,
    UNHEALTHY,
    UNHEALTHY_WITH_MODEL,
    batch_errors,
    comparison_errors,
    image_errors,
)
from gateway.documentation.privacy import as_html, statement
from gateway.errors import ApiError, InvalidParameterError
from gateway.schemas import AliveBody, IndexBody, ReadyBody, StartedBody
from gateway.services import NAME, read_version
from gateway.settings import Settings
from gateway.uploads import batch_too_large, file_too_large
from gateway.web.includes import EVIDENCE, HISTOGRAM, MODEL

JSON: Final = "application/json"


@dataclass(frozen=True)
class Answer:
    """What a status means, with an example of its body for each media type."""

    meaning: str
    bodies: Mapping[str, BaseModel | str]
    on_request: Mapping[str, BaseModel] = field(default_factory=dict)
    """JSON bodies for a client that asks for more, by the value of `include`."""


@dataclass(frozen=True)
class Upload:
    """The multipart field that carries images; with `most` above 1 it may be repeated."""

    field: str
    most: int = 1


@dataclass(frozen=True)
class Operation:
    """One route: its text, its answers, and the errors that it gives beside those of every route."""

    tag: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    upload: Upload | None = None
    errors: list[ApiError] = field(default_factory=list)


def build_operations(settings: Settings) -> dict[str, Operation]:
    """The operations by their unversioned path."""
    return {**_predictions(settings), **_probes(), **_others(settings)}


def _predictions(settings: Settings) -> dict[str, Operation]:
    size = f"JPEG, PNG or WebP. {file_too_large(settings).detail}."
    several = f"1 to {settings.max_batch_files} files. {batch_too_large(settings).detail}."
    a_minute = {bucket: f"At most {rate} requests a minute." for bucket, rate in settings.rates().items()}
    return {
        "/predict": Operation(
            tag="predictions",
            summary="Judge one image",
            description=f"{size} {a_minute['predict']}",
            upload=Upload("file"),
            answers={200: Answer("The verdict.", {JSON: PREDICTION}, {EVIDENCE: PREDICTION_WITH_EVIDENCE})},
            errors=image_errors(settings, "predict"),
        ),
        "/predict/batch": Operation(
            tag="predictions",
            summary="Judge several images",
            description=f"{several} Each file: {size} A bad file fails alone, with its `error`. {a_minute['batch']}",
            upload=Upload("files", settings.max_batch_files),
            answers={200: Answer("A prediction or an error per file, in order.", {JSON: BATCH})},
            errors=batch_errors(settings),
        ),
        "/predict/explain": Operation(
            tag="predictions",
            summary="Predict one image and show which regions drove the prediction",
            description=f"{size} {a_minute['explain']}",
            upload=Upload("file"),
            answers={
                200: Answer(
                    "The prediction with its Grad-CAM heat map.",
                    {JSON: EXPLANATION},
                    {EVIDENCE: EXPLANATION_WITH_EVIDENCE},
                )
            },
            errors=image_errors(settings, "explain"),
        ),
        "/predict/compare": Operation(
            tag="predictions",
            summary="Predict one image with the live and the shadow version",
            description=f"{size} Counts as a prediction: at most {settings.predict_rate} requests a minute.",
            upload=Upload("file"),
            answers={200: Answer("Both predictions and their difference.", {JSON: COMPARISON})},
            errors=comparison_errors(settings),
        ),
    }


def _probes() -> dict[str, Operation]:
    return {
        "/health": Operation(
            tag="probes",
            summary="State of the service and of the model",
            answers={
                200: Answer("An inference can be served.", {JSON: HEALTHY}, {MODEL: HEALTHY_WITH_MODEL}),
                503: Answer("No inference can be served right now.", {JSON: UNHEALTHY}, {MODEL: UNHEALTHY_WITH_MODEL}),
            },
            errors=[InvalidParameterError("Values of `include`: model.")],
        ),
        "/healthz": Operation(
            tag="probes",
            summary="Whether the process is alive",
            answers={200: Answer("It is; the model was not asked.", {JSON: AliveBody()})},
        ),
        "/readyz": Operation(
            tag="probes",
            summary="Whether an inference can be served now",
            answers={
                200: Answer("The model server answered a real inference.", {JSON: ReadyBody(ready=True)}),
                503: Answer("It did not.", {JSON: ReadyBody(ready=False)}),
            },
        ),
        "/startup": Operation(
            tag="probes",
            summary="Whether the model has come up since the start",
            answers={
                200: Answer("It has.", {JSON: StartedBody(started=True)}),
                503: Answer("Not yet.", {JSON: StartedBody(started=False)}),
            },
        ),
    }


def _others(settings: Settings) -> dict[str, Operation]:
    version = read_version()
    index = IndexBody(name=NAME, version=version, links={"predict": "/predict", "health": "/health"})
    privacy = statement(settings, version)
    counted = 'http_requests_total{method="GET",endpoint="/health",status="200"} 12.0'
    return {
        "/": Operation(
            tag="service",
            summary="Name, version and links",
            answers={200: Answer("What this service is.", {JSON: index})},
        ),
        "/metrics": Operation(
            tag="monitoring",
            summary="Metrics for Prometheus",
            answers={200: Answer("Prometheus's text format.", {"text/plain": counted})},
        ),
        "/drift": Operation(
            tag="monitoring",
            summary="Whether predictions and images still resemble the reference",
            answers={
                200: Answer(
                    "The drift window compared with the reference.",
                    {JSON: DRIFT},
                    {HISTOGRAM: DRIFT_WITH_HISTOGRAM},
                )
            },
            errors=[InvalidParameterError("Values of `include`: histogram.")],
        ),
        "/privacy": Operation(
            tag="service",
            summary="How data are handled",
            description="A page for a client that prefers `text/html`.",
            answers={200: Answer("The statement.", {JSON: privacy, "text/html": as_html(privacy)})},
        ),
    }
