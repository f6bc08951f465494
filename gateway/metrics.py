"""The gateway's Prometheus metrics, and how a request and a prediction are counted in them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Final, Literal, get_args

import prometheus_client as prometheus
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.routing import Route
from starlette.types import Scope

from gateway import errors
from gateway.context import RequestContext
from gateway.schemas import Verdict

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
IMAGE_ERRORS: Final = tuple(
    error.code
    for error in (
        errors.EmptyFileError,
        errors.InvalidFormatError,
        errors.CorruptImageError,
        errors.InvalidDimensionsError,
        errors.FileTooLargeError,
    )
)

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
DIFFERENCES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
BYTES: Final = (256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864)
TENTHS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FILES: Final = (1, 2, 3, 5, 8, 10)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER: Final = "other"
UNMATCHED: Final = "unmatched"
CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
NONE: Final = "none"


def endpoint_of(scope: Scope) -> str:
    """The template of the route that a request reached, without `/v1`; one value for all that reached none."""
    route = scope.get("route")
    if not isinstance(route, Route):
        return UNMATCHED
    mounts = scope["root_path"].removeprefix(scope["app_root_path"]) if "app_root_path" in scope else ""
    return (mounts + route.path).removeprefix("/v1") or "/"


class Metrics:
    """The metrics of one gateway process, in a registry of their own."""

    def __init__(self, version: str) -> None:
        # A series of start times beside every counter helps nobody.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        counter, gauge = partial(prometheus.Counter, registry=registry), partial(prometheus.Gauge, registry=registry)
        histogram = partial(prometheus.Histogram, registry=registry)
        times, sizes = partial(histogram, buckets=SECONDS), partial(histogram, labelnames=["endpoint"], buckets=BYTES)

        self._requests = counter("http_requests_total", "HTTP requests.", ["method", "endpoint", "status"])
        self._request_seconds = times(
            "http_request_duration_seconds",
            "Time from a request's first byte to its response's last.",
            ["method", "endpoint"],
        )
        self._received = sizes("aidetect_request_size_bytes", "Bytes of request bodies that were read.")
        self._sent = sizes("aidetect_response_size_bytes", "Bytes of response bodies.")
        self._rate_limited = counter("aidetect_rate_limited_total", "Requests refused with 429.", ["endpoint"])
        self._resources = counter(
            "aidetect_resource_limit_total", "How often a limit on time, bytes or connections took effect.", ["limit"]
        )
        self._lines = counter("aidetect_log_lines_dropped_total", "Log lines that could not be written.")

        self._predictions = counter(
            "aidetect_predictions_total",
            "Images sent to the model server, by outcome.",
            ["status", "prediction", "confidence"],
        )
        self._seconds = times("aidetect_prediction_latency_seconds", "Time to a prediction, queueing included.")
        self._probability = histogram(
            "aidetect_prediction_probability", "Probabilities of being AI-generated.", buckets=TENTHS
        )
        self._batches = counter("aidetect_batch_predictions_total", "Batches, by outcome.", ["status"])
        self._batch_files = histogram("aidetect_batch_size", "Images in a batch.", buckets=FILES)
        self._batch_seconds = times("aidetect_batch_latency_seconds", "Time to predict a whole batch.")
        self._refused = counter("aidetect_image_validation_errors_total", "Refused images, by error code.", ["type"])
        self._backend_errors = counter(
            "aidetect_backend_errors_total", "Failed calls to the model server, probes included.", ["cause"]
        )

        self._shadow_samples = counter(
            "aidetect_shadow_samples_total", "Images sampled for the shadow version.", ["result"]
        )
        self._shadow_difference = histogram(
            "aidetect_shadow_difference",
            "Difference between the shadow version's and the live version's probability.",
            buckets=DIFFERENCES,
        )
        self._shadow_seconds = times(
            "aidetect_shadow_latency_seconds", "Time to the shadow version's prediction, queueing included."
        )

        gauge("aidetect_build_info", "The gateway's version; always 1.", ["version"]).labels(version).set(1)
        self._model = gauge("aidetect_model_info", "The model version that answered last; always 1.", ["version"])
        self._active = gauge("aidetect_active_requests", "Prediction requests being served.")
        self._gauges = {
            "model_loaded": gauge("aidetect_model_loaded", "1 while a prediction can be served, else 0."),
            "queued_images": gauge("aidetect_queued_images", "Images waiting for a call to the model server."),
            "drift_detected": gauge("aidetect_drift_detected", "1 while a drift check alerts, else 0."),
            "drift_score": gauge(
                "aidetect_drift_score", "The worst drift check's score divided by its threshold; above 1 is drift."
            ),
            "drift_window": gauge("aidetect_drift_window_size", "Predictions in the drift window."),
        }
        self._lines_dropped = 0
        self._started = perf_counter()
        self.active_requests = 0
        self.predictions_total = 0
        # Known from the start, so that the first one is an increase and not a new series.
        for known, values in (
            (self._resources, get_args(Resource)),
            (self._refused, IMAGE_ERRORS),
            (self._backend_errors, ("connection", *BACKEND_ERRORS.values())),
            (self._shadow_samples, ("agreement", "disagreement", "error", "dropped")),
        ):
            for value in values:
                known.labels(value)

    def exchanged(self, scope: Scope, context: RequestContext, seconds: float) -> None:
        """Count a request that is over."""
        method, endpoint = scope["method"], endpoint_of(scope)
        if method not in METHODS:
            method = OTHER
        self._requests.labels(method, endpoint, str(context.status or NONE)).inc()
        self._request_seconds.labels(method, endpoint).observe(seconds)
        self._received.labels(endpoint).observe(context.received)
        self._sent.labels(endpoint).observe(context.sent)
        if context.status == errors.RateLimitedError.status:
            self._rate_limited.labels(endpoint).inc()
        self.refused(context.error)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Count a prediction request as active while the block runs."""
        self.active_requests += 1
        try:
            yield
        finally:
            self.active_requests -= 1

    @property
    def uptime_s(self) -> float:
        """Seconds since the start, with one decimal."""
        return round(perf_counter() - self._started, 1)

    def limited(self, resource: Resource) -> None:
        """Count that a limit on time, bytes or connections took effect."""
        self._resources.labels(resource).inc()

    def refused(self, code: str | None) -> None:
        """Count a refused image, if that is what an error's code says."""
        if code in IMAGE_ERRORS:
            self._refused.labels(code).inc()

    def predicted(self, verdict: Verdict, seconds: float) -> None:
        """Count a prediction."""
        self.predictions_total += 1
        self._predictions.labels("success", verdict.prediction, verdict.confidence).inc()
        self._seconds.observe(seconds)
        self._probability.observe(verdict.probability)

    def not_predicted(self, error: Exception) -> None:
        """Count an image that was not predicted: through its own fault, or the service's."""
        own = isinstance(error, errors.ApiError) and not isinstance(error, errors.UnavailableError)
        self._predictions.labels("invalid" if own else "error", NONE, NONE).inc()

    @contextmanager
    def batch(self, files: int) -> Iterator[None]:
        """Count a batch and time it while the block runs."""
        started, status = perf_counter(), "error"
        try:
            yield
            status = "success"
        finally:
            self._batches.labels(status).inc()
            self._batch_files.observe(files)
            self._batch_seconds.observe(perf_counter() - started)

    def backend_failed(self, cause: str) -> None:
        """Count a call to the model server that brought no answer."""
        self._backend_errors.labels(BACKEND_ERRORS.get(cause, "connection")).inc()

    def shadow_predicted(self, live: Verdict, shadow: Verdict, seconds: float) -> None:
        """Count a sampled image that both versions have predicted."""
        self._shadow_samples.labels("agreement" if live.prediction == shadow.prediction else "disagreement").inc()
        self._shadow_difference.observe(live.differs_by(shadow))
        self._shadow_seconds.observe(seconds)

    def shadow_missed(self, result: Literal["error", "dropped"]) -> None:
        """Count a sampled image that the shadow version did not predict."""
        self._shadow_samples.labels(result).inc()

    def render(self, model_version: str | None, lines_dropped: int, **gauges: float) -> bytes:
        """All of it in Prometheus's text format, with the gauges as they are now, named as in `_gauges`."""
        self._model.clear()  # one series, whatever versions come and go
        self._model.labels(model_version or NONE).set(1)
        for name, value in gauges.items():
            self._gauges[name].set(value)
        self._active.set(self.active_requests)
        self._lines.inc(lines_dropped - self._lines_dropped)
        self._lines_dropped = lines_dropped
        return prometheus.generate_latest(self.registry)
