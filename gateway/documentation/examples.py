"""Examples for the API's description: the documented bodies, and each error with a detail as it is really given."""

from __future__ import annotations

from typing import Final

from gateway.access.auth import CHALLENGE, MISSING
from gateway.access.ratelimit import Bucket
from gateway.errors import (
    ApiError,
    CorruptImageError,
    EmptyFileError,
    InvalidDimensionsError,
    InvalidFormatError,
    InvalidParameterError,
    RateLimitedError,
    TooManyFilesError,
    UnauthorizedError,
)
from gateway.model_server.backend import unavailable
from gateway.model_server.shadow import no_shadow_version
from gateway.schemas import (
    BatchBody,
    BatchItem,
    ComparisonBody,
    DriftBody,
    DriftCheck,
    DriftHistogram,
    DriftStatistics,
    DriftSummary,
    DriftWithHistogram,
    Evidence,
    ExplanationBody,
    ExplanationWithEvidence,
    HealthBody,
    HealthWithModel,
    ModelInfo,
    PredictionBody,
    PredictionWithEvidence,
)
from gateway.settings import Settings
from gateway.uploads import batch_too_large, file_too_large, missing_file, not_a_form

PREDICTION: Final = PredictionBody(
    prediction="ai_generated", probability=0.87, confidence="high", inference_time_ms=45.2, model_version="1.0.0"
)
COMPARISON: Final = ComparisonBody(
    primary=PREDICTION,
    shadow=PredictionBody(
        prediction="ai_generated", probability=0.82, confidence="high", inference_time_ms=50.1, model_version="1.0.1"
    ),
    agreement=True,
    difference=0.05,
)
EXPLANATION: Final = ExplanationBody(
    prediction="ai_generated",
    probability=0.87,
    confidence="high",
    heatmap_base64="/9j/4AAQ",
    inference_time_ms=120.5,
    model_version="1.0.0",
)
FINDINGS: Final = [
    Evidence(type="generator_software", value="DALL-E", strength="weak"),
]
PREDICTION_WITH_EVIDENCE: Final = PredictionWithEvidence(**PREDICTION.model_dump(), evidence=FINDINGS)
EXPLANATION_WITH_EVIDENCE: Final = ExplanationWithEvidence(**EXPLANATION.model_dump(), evidence=FINDINGS)
BATCH: Final = BatchBody(
    results=[
        BatchItem(filename="photo1.jpg", prediction="ai_generated", probability=0.87, confidence="high"),
        BatchItem(filename="photo2.png", prediction="real", probability=0.12, confidence="high"),
        BatchItem(
            filename="photo3.gif",
            error="Invalid image format: Supported formats: JPEG, PNG, WebP. Got: image/gif",
        ),
    ],
    total=3,
    successful=2,
    failed=1,
    total_inference_time_ms=89.5,
    model_version="1.0.0",
)
HEALTHY: Final = HealthBody(
    status="healthy",
    model_loaded=True,
    model_version="1.0.0",
    uptime_seconds=3600.5,
    active_requests=2,
    drift_detected=False,
    predictions_total=1542,
)
DRIFT: Final = DriftBody(
    status="monitoring",
    reason=None,
    window_size=1000,
    window_capacity=1000,
    min_samples=200,
    false_alarm_rate=0.01,
    reference=DriftStatistics(
        model_version="1.0.0",
        samples=1200,
        mean=0.46,
        std=0.31,
        low_confidence_ratio=0.29,
        confidence_ratios=None,
        class_ratios={"real": 0.55, "ai_generated": 0.45},
        inputs={"brightness": DriftSummary(samples=1200, mean=127.0, std=40.0)},
    ),
    current=DriftStatistics(
        model_version="1.0.0",
        samples=1000,
        mean=0.48,
        std=0.32,
        low_confidence_ratio=0.27,
        confidence_ratios={"low": 0.27, "medium": 0.2, "high": 0.53},
        class_ratios={"real": 0.52, "ai_generated": 0.48},
        inputs={"brightness": DriftSummary(samples=1000, mean=96.0, std=41.0)},
    ),
    checks=[
        DriftCheck(name="probability_mean", score=0.02, threshold=0.05, samples=1000, alert=False),
        DriftCheck(name="brightness_ks", score=0.25, threshold=0.1, samples=1000, alert=True),
    ],
    alerts=["brightness_ks is 0.25, over its threshold of 0.1"],
    drift_detected=True,
    drift_score=2.5,
)
DRIFT_WITH_HISTOGRAM: Final = DriftWithHistogram(
    **DRIFT.model_dump(),
    histogram=DriftHistogram(
        edges=[0, 0.25, 0.5, 0.75, 1], reference=[0.4, 0.15, 0.15, 0.3], current=[0.38, 0.14, 0.15, 0.33]
    ),
)
UNHEALTHY: Final = HEALTHY.model_copy(update={"status": "unhealthy", "model_loaded": False})
MODEL_INFO: Final = ModelInfo(
    base_rate=0.1876, operating_point="false_alarms_5", true_positive_rate=0.342, false_positive_rate=0.064
)
HEALTHY_WITH_MODEL: Final = HealthWithModel(**HEALTHY.model_dump(), model=MODEL_INFO)
UNHEALTHY_WITH_MODEL: Final = HealthWithModel(**UNHEALTHY.model_dump(), model=None)


def image_errors(settings: Settings, bucket: Bucket) -> list[ApiError]:
    """All that a route with one image may answer."""
    expected = "Send exactly one image in the multipart field `file`."
    sides = f"Each side must have {settings.min_side_pixels} to {settings.max_side_pixels} pixels."
    return [
        InvalidParameterError("Values of `include`: evidence."),
        not_a_form("file", 1),
        missing_file("file", 1, ["picture"]),
        TooManyFilesError(expected),
        EmptyFileError("The uploaded file has no content."),
        InvalidFormatError("Supported formats: JPEG, PNG, WebP. Got: image/gif"),
        CorruptImageError("The image is truncated or corrupt."),
        InvalidDimensionsError(f"{sides} Got: 8x600"),
        file_too_large(settings),
        *_common_errors(settings, bucket),
    ]


def comparison_errors(settings: Settings) -> list[ApiError]:
    """All that the comparison may answer; what `include` may be is another matter than with one verdict."""
    others = [error for error in image_errors(settings, "predict") if not isinstance(error, InvalidParameterError)]
    return [InvalidParameterError("Values of `include`: none on this route."), *others, no_shadow_version()]


def batch_errors(settings: Settings) -> list[ApiError]:
    """All that the batch route may answer; what ails one file is told in the results."""
    expected = f"Send 1 to {settings.max_batch_files} images in the multipart field `files`."
    return [
        InvalidParameterError("Values of `include`: none on this route."),
        not_a_form("files", settings.max_batch_files),
        missing_file("files", settings.max_batch_files, ["file"]),
        TooManyFilesError(expected),
        batch_too_large(settings),
        *_common_errors(settings, "batch"),
    ]


def _common_errors(settings: Settings, bucket: Bucket) -> list[ApiError]:
    rate = f"At most {settings.rates()[bucket]} requests a minute."
    return [
        UnauthorizedError(MISSING, CHALLENGE),
        RateLimitedError(f"{rate} Please retry in 42 s."),
        unavailable(settings),
    ]
