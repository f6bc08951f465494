"""The documented JSON bodies, field for field and in order."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Prediction = Literal["real", "ai_generated"]
Confidence = Literal["low", "medium", "high"]


class _Body(BaseModel):
    # `model_version` is a documented name, so pydantic must not keep `model_` for itself.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class PredictionBody(_Body):
    """The answer of `POST /predict`."""

    prediction: Prediction
    probability: float
    confidence: Confidence
    inference_time_ms: float
    model_version: str


class ExplanationBody(_Body):
    """The answer of `POST /predict/explain`."""

    prediction: Prediction
    probability: float
    confidence: Confidence
    heatmap_base64: str
    inference_time_ms: float
    model_version: str


class BatchItem(_Body):
    """One file of a batch: a verdict, or an error and nulls."""

    filename: str
    prediction: Prediction | None = None
    probability: float | None = None
    confidence: Confidence | None = None
    error: str | None = None


class BatchBody(_Body):
    """The answer of `POST /predict/batch`; results are in the order of the files."""

    results: list[BatchItem]
    total: int
    successful: int
    failed: int
    total_inference_time_ms: float
    model_version: str | None


class HealthBody(_Body):
    """The answer of `GET /health`."""

    status: Literal["healthy", "unhealthy"]
    model_loaded: bool
    model_version: str
    uptime_seconds: float
    active_requests: int
    drift_detected: bool
    predictions_total: int
