"""Examples for the API's description: the documented bodies, and each error with a detail as it is really given."""

from typing import Final

from gateway import errors, schemas
from gateway.predictions import no_shadow_version
from gateway.ratelimit import Bucket
from gateway.security import CHALLENGE, MISSING
from gateway.settings import Settings
from gateway.torchserve import unavailable
from gateway.uploads import batch_too_large, file_too_large, missing_file, not_a_form

PREDICTION: Final = schemas.PredictionBody(
    prediction="ai_generated", probability=0.87, confidence="high", inference_time_ms=45.2, model_version="1.0.0"
)
COMPARISON: Final = schemas.ComparisonBody(
    primary=PREDICTION,
    shadow=schemas.PredictionBody(
        prediction="ai_generated", probability=0.82, confidence="high", inference_time_ms=50.1, model_version="1.0.1"
    ),
    agreement=True,
    difference=0.05,
)
EXPLANATION: Final = schemas.ExplanationBody(
    prediction="ai_generated",
    probability=0.87,
    confidence="high",
    heatmap_base64="/9j/4AAQ",
    inference_time_ms=120.5,
    model_version="1.0.0",
)
FINDINGS: Final = [
    schemas.Evidence(type="generator_software", value="DALL-E", strength="weak"),
]
PREDICTION_WITH_EVIDENCE: Final = schemas.PredictionWithEvidence(**PREDICTION.model_dump(), evidence=FINDINGS)
EXPLANATION_WITH_EVIDENCE: Final = schemas.ExplanationWithEvidence(**EXPLANATION.model_dump(), evidence=FINDINGS)
BATCH: Final = schemas.BatchBody(
    results=[
        schemas.BatchItem(filename="photo1.jpg", prediction="ai_generated", probability=0.87, confidence="high"),
        schemas.BatchItem(filename="photo2.png", prediction="real", probability=0.12, confidence="high"),
        schemas.BatchItem(
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
HEALTHY: Final = schemas.HealthBody(
    status="healthy",
    model_loaded=True,
    model_version="1.0.0",
    uptime_seconds=3600.5,
    active_requests=2,
    drift_detected=False,
    predictions_total=1542,
)
DRIFT: Final = schemas.DriftBody(
    status="monitoring",
    reason=None,
    window_size=1000,
    window_capacity=1000,
    min_samples=200,
    false_alarm_rate=0.01,
    reference_source="own traffic",
    reference_since="2026-11-28T17:10:00+00:00",
    reference=schemas.DriftStatistics(
        model_version="1.0.0",
        samples=1200,
        mean=0.46,
        std=0.31,
        low_confidence_ratio=0.29,
        confidence_ratios=None,
        class_ratios={"real": 0.55, "ai_generated": 0.45},
        inputs={"brightness": schemas.DriftSummary(samples=1200, mean=127.0, std=40.0)},
    ),
    current=schemas.DriftStatistics(
        model_version="1.0.0",
        samples=1000,
        mean=0.48,
        std=0.32,
        low_confidence_ratio=0.27,
        confidence_ratios={"low": 0.27, "medium": 0.2, "high": 0.53},
        class_ratios={"real": 0.52, "ai_generated": 0.48},
        inputs={"brightness": schemas.DriftSummary(samples=1000, mean=96.0, std=41.0)},
    ),
    checks=[
        schemas.DriftCheck(name="probability_mean", score=0.02, threshold=0.05, samples=1000, alert=False),
        schemas.DriftCheck(name="brightness_ks", score=0.25, threshold=0.1, samples=1000, alert=True),
    ],
    alerts=["brightness_ks is 0.25, over its threshold of 0.1"],
    drift_detected=True,
    drift_score=2.5,
)
DRIFT_WITH_HISTOGRAM: Final = schemas.DriftWithHistogram(
    **DRIFT.model_dump(),
    histogram=schemas.DriftHistogram(
        edges=[0, 0.25, 0.5, 0.75, 1], reference=[0.4, 0.15, 0.15, 0.3], current=[0.38, 0.14, 0.15, 0.33]
    ),
)
UNHEALTHY: Final = HEALTHY.model_copy(update={"status": "unhealthy", "model_loaded": False})
MODEL_INFO: Final = schemas.ModelInfo(
    base_rate=0.1876, operating_point="false_alarms_5", true_positive_rate=0.342, false_positive_rate=0.064
)
HEALTHY_WITH_MODEL: Final = schemas.HealthWithModel(**HEALTHY.model_dump(), model=MODEL_INFO)
UNHEALTHY_WITH_MODEL: Final = schemas.HealthWithModel(**UNHEALTHY.model_dump(), model=None)


def image_errors(settings: Settings, bucket: Bucket) -> list[errors.ApiError]:
    """All that a route with one image may answer."""
    expected = "Send exactly one image in the multipart field `file`."
    sides = f"Each side must have {settings.min_side_pixels} to {settings.max_side_pixels} pixels."
    return [
        errors.InvalidParameterError("Values of `include`: evidence."),
        not_a_form("file", 1),
        missing_file("file", 1, ["picture"]),
        errors.TooManyFilesError(expected),
        errors.EmptyFileError("The uploaded file has no content."),
        errors.InvalidFormatError("Supported formats: JPEG, PNG, WebP. Got: image/gif"),
        errors.CorruptImageError("The image is truncated or corrupt."),
        errors.InvalidDimensionsError(f"{sides} Got: 8x600"),
        file_too_large(settings),
        *_common_errors(settings, bucket),
    ]


def comparison_errors(settings: Settings) -> list[errors.ApiError]:
    """All that the comparison may answer; what `include` may be is another matter than with one verdict."""
    others = [
        error for error in image_errors(settings, "predict") if not isinstance(error, errors.InvalidParameterError)
    ]
    return [errors.InvalidParameterError("Values of `include`: none on this route."), *others, no_shadow_version()]


def batch_errors(settings: Settings) -> list[errors.ApiError]:
    """All that the batch route may answer; what ails one file is told in the results."""
    expected = f"Send 1 to {settings.max_batch_files} images in the multipart field `files`."
    return [
        errors.InvalidParameterError("Values of `include`: none on this route."),
        not_a_form("files", settings.max_batch_files),
        missing_file("files", settings.max_batch_files, ["file"]),
        errors.TooManyFilesError(expected),
        batch_too_large(settings),
        *_common_errors(settings, "batch"),
    ]


def _common_errors(settings: Settings, bucket: Bucket) -> list[errors.ApiError]:
    rate = f"At most {settings.rates()[bucket]} requests a minute."
    return [
        errors.UnauthorizedError(MISSING, CHALLENGE),
        errors.SlowRequestError(),
        errors.RateLimitedError(f"{rate} Please retry in 42 s."),
        unavailable(),
    ]
