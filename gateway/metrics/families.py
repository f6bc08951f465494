"""Every metric's name, type, labels and buckets: they are declared here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.errors import (
    CorruptImageError,
    EmptyFileError,
    FileTooLargeError,
    InvalidDimensionsError,
    InvalidFormatError,
)

BackendError = Literal["timeout", "connection", "queue_full", "token", "status", "invalid_answer"]
BACKEND_ERRORS: Final[Mapping[str, BackendError]] = {
    "TimeoutError": "timeout",
    "QueueFullError": "queue_full",
    "TokenFileError": "token",
    "status": "status",
    "not the agreed JSON": "invalid_answer",
}
"""The causes that the backend logs, as label values; all others are trouble with the connection."""
Resource = Literal["connections", "idle_connections", "head_time", "body_time", "answer_time", "upload_bytes"]
RESOURCES: Final = get_args(Resource)
SHADOW_RESULTS: Final = ("agreement", "disagreement", "error", "dropped")
IMAGE_ERRORS: Final = tuple(
    error.code
    for error in (EmptyFileError, InvalidFormatError, CorruptImageError, InvalidDimensionsError, FileTooLargeError)
)

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
DIFFERENCES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
BYTES: Final = (256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864)
TENTHS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FILES: Final = (1, 2, 3, 5, 8, 10)


class Http:
    """Requests of every kind, by their labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        sizes = partial(histogram, labelnames=["endpoint"], buckets=BYTES)
        self.requests = counter("http_requests_total", "HTTP requests.", ["method", "endpoint", "status"])
        self.seconds = histogram(
            "http_request_duration_seconds",
            "Time from a request's first byte to its response's last.",
            ["method", "endpoint"],
            buckets=SECONDS,
        )
        self.received = sizes("aidetect_request_size_bytes", "Bytes of request bodies that were read.")
        self.sent = sizes("aidetect_response_size_bytes", "Bytes of response bodies.")
        self.limited = counter("aidetect_rate_limited_total", "Requests refused with 429.", ["endpoint"])
        self.resources = counter(
            "aidetect_resource_limit_total", "How often a limit on time, bytes or connections took effect.", ["limit"]
        )
        self.lines = counter("aidetect_log_lines_dropped_total", "Log lines that could not be written.")
        for limit in RESOURCES:
            self.resources.labels(limit)


class Images:
    """Images and batches, and calls to the model server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        self.judged = counter(
            "aidetect_predictions_total",
            "Images sent to the model server, by outcome.",
            ["status", "prediction", "confidence"],
        )
        self.seconds = histogram(
            "aidetect_prediction_latency_seconds", "Time to a prediction, queueing included.", buckets=SECONDS
        )
        self.probability = histogram(
            "aidetect_prediction_probability", "Probabilities of being AI-generated.", buckets=TENTHS
        )
        self.batches = counter("aidetect_batch_predictions_total", "Batches, by outcome.", ["status"])
        self.batch_files = histogram("aidetect_batch_size", "Images in a batch.", buckets=FILES)
        self.batch_seconds = histogram(
            "aidetect_batch_latency_seconds", "Time to predict a whole batch.", buckets=SECONDS
        )
        self.refused = counter("aidetect_image_validation_errors_total", "Refused images, by error code.", ["type"])
        self.backend_errors = counter(
            "aidetect_backend_errors_total",
            "Failed calls to the model server, probes included.",
            ["cause"],
        )
        # Known from the start, so that the first error is an increase and not a new series.
        for code in IMAGE_ERRORS:
            self.refused.labels(code)
        for cause in ("connection", *BACKEND_ERRORS.values()):
            self.backend_errors.labels(cause)


class Shadow:
    """The shadow version of the model beside the live one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        histogram = partial(Histogram, registry=registry)
        self.samples = Counter(
            "aidetect_shadow_samples_total", "Images sampled for the shadow version.", ["result"], registry=registry
        )
        self.difference = histogram(
            "aidetect_shadow_difference",
            "Difference between the shadow version's and the live version's probability.",
            buckets=DIFFERENCES,
        )
        self.seconds = histogram(
            "aidetect_shadow_latency_seconds",
            "Time to the shadow version's prediction, queueing included.",
            buckets=SECONDS,
        )
        for result in SHADOW_RESULTS:
            self.samples.labels(result)


class Gauges:
    """What is so now; set when it is asked for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry)
        self.build = gauge("aidetect_build_info", "The gateway's version; always 1.", ["version"])
        self.loaded = gauge("aidetect_model_loaded", "1 while a prediction can be served, else 0.")
        self.model = gauge("aidetect_model_info", "The model version that answered last; always 1.", ["version"])
        self.active = gauge("aidetect_active_requests", "Prediction requests being served.")
        self.queued = gauge("aidetect_queued_images", "Images waiting for a call to the model server.")
        self.detected = gauge("aidetect_drift_detected", "1 while a drift check alerts, else 0.")
        self.score = gauge(
            "aidetect_drift_score", "The worst drift check's score divided by its threshold; above 1 is drift."
        )
        self.window = gauge("aidetect_drift_window_size", "Predictions in the drift window.")
