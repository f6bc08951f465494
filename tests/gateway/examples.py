"""The gateway's bodies as its description shows them, for tests of its clients."""

from __future__ import annotations

from typing import Any

from gateway import schemas
from gateway.openapi import example

PREDICTION = schemas.PredictionBody(**example(schemas.PredictionBody))
EXPLANATION = schemas.ExplanationBody(**example(schemas.ExplanationBody))
PREDICTION_WITH_EVIDENCE = schemas.PredictionBody(**example(schemas.PredictionBody, "evidence"))
EXPLANATION_WITH_EVIDENCE = schemas.ExplanationBody(**example(schemas.ExplanationBody, "evidence"))
REFUSED = "Invalid image format: Supported formats: JPEG, PNG, WebP. Got: image/gif"
COMPARISON = schemas.ComparisonBody(
    primary=PREDICTION,
    shadow=PREDICTION.model_copy(update={"probability": 0.82, "model_version": "1.0.1"}),
    agreement=True,
    difference=0.05,
    message=None,
)
BATCH: dict[str, Any] = {
    "results": [
        {"filename": "1.jpg", "prediction": "ai_generated", "probability": 0.87, "confidence": "high", "error": None},
        {"filename": "2.jpg", "prediction": "real", "probability": 0.12, "confidence": "high", "error": None},
        {"filename": "3.gif", "prediction": None, "probability": None, "confidence": None, "error": REFUSED},
    ],
    "total": 3,
    "successful": 2,
    "failed": 1,
    "total_inference_time_ms": 89.5,
    "model_version": "1.0.0",
}
HEALTHY = schemas.HealthBody(**example(schemas.HealthBody))
UNHEALTHY = HEALTHY.model_copy(update={"status": "unhealthy", "model_loaded": False})
HEALTHY_WITH_MODEL = schemas.HealthBody(**example(schemas.HealthBody, "model"))
MODEL_INFO = schemas.ModelInfo(**example(schemas.ModelInfo))
DRIFT = schemas.DriftBody(**example(schemas.DriftBody))
DRIFT_WITH_HISTOGRAM = schemas.DriftBody(**example(schemas.DriftBody, "histogram"))
