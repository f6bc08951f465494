"""All metrics and their names; label values come from enumerations and route templates, never from a client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.routing import Route
from starlette.types import Scope

from gateway.errors import (
    ApiError,
    CorruptImageError,
    EmptyFileError,
    FileTooLargeError,
    InvalidDimensionsError,
    InvalidFormatError,
    RateLimitedError,
    UnavailableError,
)
from gateway.model_server.backend import Verdict

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER: Final = "other"
UNMATCHED: Final = "unmatched"
NONE: Final = "none"

BackendError = Literal["timeout", "connection", "queue_full", "token", "status", "invalid_answer"]
BACKEND_ERRORS: Final[Mapping[str, BackendError]] = {
    "TimeoutError": "timeout",
    "QueueFullError": "queue_full",
    "TokenFileError": "token",
    "status": "status",
    "not the agreed JSON": "invalid_answer",
}
"""The causes that the backend logs, as label values; all others are trouble with the connection."""
ShadowMiss = Literal["error", "dropped"]
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


@dataclass(frozen=True)
class Snapshot:
    """What the gauges say; read when they are asked for."""

    model_loaded: bool
    model_version: str | None
    active_requests: int
    queued_images: int
    drift_detected: bool
    drift_score: float
    drift_window: int


@dataclass(frozen=True)
class Exchange:
    """One request that is over; a status of None means that the client was gone before it got one."""

    scope: Scope
    status: int | None
    seconds: float
    received: int
    sent: int
    error: str | None


class Metrics:
    """The counters of one gateway process, in a registry of their own."""

    def __init__(self, version: str) -> None:
        # A series of start times beside every counter helps nobody.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        _Build(registry, version)
        self._http = _Http(registry)
        self._images = _Images(registry)
        self._shadow = _Shadow(registry)
        self._gauges = _Gauges(registry)

    def exchanged(self, exchange: Exchange) -> None:
        """Count a request that is over."""
        self._http.count(exchange)
        if exchange.error in IMAGE_ERRORS:
            self._images.refused.labels(exchange.error).inc()

    @contextmanager
    def batch_item(self) -> Iterator[None]:
        """Count an image of a batch when it is refused in the block; `exchanged` sees errors of whole requests."""
        try:
            yield
        except ApiError as error:
            if error.code in IMAGE_ERRORS:
                self._images.refused.labels(error.code).inc()
            raise

    def judged(self, verdict: Verdict, seconds: float) -> None:
        """Count a verdict."""
        self._images.judged.labels("success", verdict.prediction, verdict.confidence).inc()
        self._images.seconds.observe(seconds)
        self._images.probability.observe(verdict.probability)

    def not_judged(self, error: Exception) -> None:
        """Count an image that got no verdict: through its own fault, or the service's."""
        own = isinstance(error, ApiError) and not isinstance(error, UnavailableError)
        self._images.judged.labels("invalid" if own else "error", NONE, NONE).inc()

    @contextmanager
    def batch(self, files: int) -> Iterator[None]:
        """Count a batch and time it while the block runs."""
        started, status = perf_counter(), "error"
        try:
            yield
            status = "success"
        finally:
            self._images.batches.labels(status).inc()
            self._images.batch_files.observe(files)
            self._images.batch_seconds.observe(perf_counter() - started)

    def backend_failed(self, cause: str) -> None:
        """Count a call to the model server that brought no answer."""
        self._images.backend_errors.labels(BACKEND_ERRORS.get(cause, "connection")).inc()

    def shadow_judged(self, live: Verdict, shadow: Verdict, seconds: float) -> None:
        """Count a sampled image that both versions have judged."""
        self._shadow.samples.labels("agreement" if live.agrees_with(shadow) else "disagreement").inc()
        self._shadow.difference.observe(live.differs_by(shadow))
        self._shadow.seconds.observe(seconds)

    def shadow_missed(self, result: ShadowMiss) -> None:
        """Count a sampled image that the shadow version gave no verdict on."""
        self._shadow.samples.labels(result).inc()

    def render(self, snapshot: Snapshot) -> bytes:
        """All of it in Prometheus's text format."""
        self._gauges.set(snapshot)
        return generate_latest(self.registry)


class _Build:
    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        gauge = Gauge("aidetect_build_info", "The gateway's version; always 1.", ["version"], registry=registry)
        gauge.labels(version).set(1)


class _Http:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "http_requests_total", "HTTP requests.", ["method", "endpoint", "status"], registry=registry
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ["method", "endpoint"],
            buckets=SECONDS,
            registry=registry,
        )
        self._received = Histogram(
            "aidetect_request_size_bytes",
            "Bytes of request bodies that were read.",
            ["endpoint"],
            buckets=BYTES,
            registry=registry,
        )
        self._sent = Histogram(
            "aidetect_response_size_bytes", "Bytes of answers' bodies.", ["endpoint"], buckets=BYTES, registry=registry
        )
        self._limited = Counter(
            "aidetect_rate_limited_total", "Requests refused for their rate.", ["endpoint"], registry=registry
        )

    def count(self, exchange: Exchange) -> None:
        method, endpoint = _method(exchange.scope), endpoint_of(exchange.scope)
        self._requests.labels(method, endpoint, str(exchange.status or NONE)).inc()
        self._seconds.labels(method, endpoint).observe(exchange.seconds)
        self._received.labels(endpoint).observe(exchange.received)
        self._sent.labels(endpoint).observe(exchange.sent)
        if exchange.status == RateLimitedError.status:
            self._limited.labels(endpoint).inc()


class _Images:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.judged = Counter(
            "aidetect_predictions_total",
            "Images sent to the model server, by what came of it.",
            ["status", "prediction", "confidence"],
            registry=registry,
        )
        self.seconds = Histogram(
            "aidetect_prediction_latency_seconds",
            "Time to a verdict, queueing included.",
            buckets=SECONDS,
            registry=registry,
        )
        self.probability = Histogram(
            "aidetect_prediction_probability",
            "Probabilities of being AI-generated.",
            buckets=TENTHS,
            registry=registry,
        )
        self.batches = Counter(
            "aidetect_batch_predictions_total", "Batches that were judged.", ["status"], registry=registry
        )
        self.batch_files = Histogram("aidetect_batch_size", "Images in a batch.", buckets=FILES, registry=registry)
        self.batch_seconds = Histogram(
            "aidetect_batch_latency_seconds", "Time to judge a whole batch.", buckets=SECONDS, registry=registry
        )
        self.refused = Counter(
            "aidetect_image_validation_errors_total", "Images that were refused.", ["type"], registry=registry
        )
        self.backend_errors = Counter(
            "aidetect_backend_errors_total",
            "Calls to the model server that brought no answer, probes included.",
            ["cause"],
            registry=registry,
        )
        # Known from the start, so that the first error is an increase and not a new series.
        for code in IMAGE_ERRORS:
            self.refused.labels(code)
        for cause in ("connection", *BACKEND_ERRORS.values()):
            self.backend_errors.labels(cause)


class _Shadow:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.samples = Counter(
            "aidetect_shadow_samples_total", "Images sampled for the shadow version.", ["result"], registry=registry
        )
        self.difference = Histogram(
            "aidetect_shadow_difference",
            "How far the shadow version's probability is from the live one's.",
            buckets=DIFFERENCES,
            registry=registry,
        )
        self.seconds = Histogram(
            "aidetect_shadow_latency_seconds",
            "Time to the shadow version's verdict, queueing included.",
            buckets=SECONDS,
            registry=registry,
        )
        for result in SHADOW_RESULTS:
            self.samples.labels(result)


class _Gauges:
    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(name, meaning, labels, registry=registry)

        self._loaded = gauge("aidetect_model_loaded", "1 while an inference can be served, else 0.")
        self._model = gauge("aidetect_model_info", "The model version that answered last; always 1.", "version")
        self._active = gauge("aidetect_active_requests", "Prediction requests being served.")
        self._queued = gauge("aidetect_queued_images", "Images waiting for a call to the model server.")
        self._detected = gauge("aidetect_drift_detected", "1 while a drift check alerts, else 0.")
        self._score = gauge("aidetect_drift_score", "The worst drift check's score over its threshold; drift above 1.")
        self._window = gauge("aidetect_drift_window_size", "Predictions in the drift window.")

    def set(self, snapshot: Snapshot) -> None:
        self._loaded.set(snapshot.model_loaded)
        self._model.clear()  # one series, whatever versions come and go
        self._model.labels(snapshot.model_version or NONE).set(1)
        self._active.set(snapshot.active_requests)
        self._queued.set(snapshot.queued_images)
        self._detected.set(snapshot.drift_detected)
        self._score.set(snapshot.drift_score)
        self._window.set(snapshot.drift_window)


def endpoint_of(scope: Scope) -> str:
    """The template of the route that a request reached, without `/v1`; one value for all that reached none."""
    route = scope.get("route")
    if not isinstance(route, Route):
        return UNMATCHED
    mounts = scope["root_path"].removeprefix(scope["app_root_path"]) if "app_root_path" in scope else ""
    return (mounts + route.path).removeprefix("/v1") or "/"


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else OTHER
