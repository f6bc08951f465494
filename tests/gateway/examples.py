"""The gateway's bodies as its description shows them, for tests of its clients."""

from __future__ import annotations

from gateway import schemas
from gateway.openapi import example

PREDICTION = schemas.PredictionBody(**example(schemas.PredictionBody))
EXPLANATION = schemas.ExplanationBody(**example(schemas.ExplanationBody))
PREDICTION_WITH_EVIDENCE = schemas.PredictionWithEvidence(**example(schemas.PredictionWithEvidence))
EXPLANATION_WITH_EVIDENCE = schemas.ExplanationWithEvidence(**example(schemas.ExplanationWithEvidence))
COMPARISON = schemas.ComparisonBody(
    primary=PREDICTION,
    shadow=PREDICTION.model_copy(update={"probability": 0.82, "model_version": "1.0.1"}),
    agreement=True,
    difference=0.05,
)
_REFUSED = "Invalid image format: Supported formats: JPEG, PNG, WebP. Got: image/gif"
BATCH = schemas.BatchBody(
    results=[
        schemas.BatchItem(filename="1.jpg", prediction="ai_generated", probability=0.87, confidence="high"),
        schemas.BatchItem(filename="2.jpg", prediction="real", probability=0.12, confidence="high"),
        schemas.BatchItem(filename="3.gif", error=_REFUSED),
    ],
    total=3,
    successful=2,
    failed=1,
    total_inference_time_ms=89.5,
    model_version="1.0.0",
)
HEALTHY = schemas.HealthBody(**example(schemas.HealthBody))
UNHEALTHY = HEALTHY.model_copy(update={"status": "unhealthy", "model_loaded": False})
HEALTHY_WITH_MODEL = schemas.HealthWithModel(**example(schemas.HealthWithModel))
MODEL_INFO = schemas.ModelInfo(**example(schemas.ModelInfo))
DRIFT = schemas.DriftBody(**example(schemas.DriftBody))
DRIFT_WITH_HISTOGRAM = schemas.DriftWithHistogram(**example(schemas.DriftWithHistogram))
