"""What the gateway counts, in words of the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Literal

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gateway.errors import ApiError, RateLimitedError, UnavailableError
from gateway.metrics.exchange import Exchange, endpoint_of, method_of
from gateway.metrics.families import BACKEND_ERRORS, IMAGE_ERRORS, Gauges, Http, Images, Resource, Shadow
from gateway.schemas import Verdict

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
NONE: Final = "none"

ShadowMiss = Literal["error", "dropped"]


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
    log_lines_dropped: int


class Metrics:
    """The counters of one gateway process, in a registry of their own."""

    def __init__(self, version: str) -> None:
        # A series of start times beside every counter helps nobody.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._http = Http(registry)
        self._images = Images(registry)
        self._shadow = Shadow(registry)
        self._gauges = Gauges(registry)
        self._lines_dropped = 0
        self._gauges.build.labels(version).set(1)

    def exchanged(self, exchange: Exchange) -> None:
        """Count a request that is over."""
        method, endpoint = method_of(exchange.scope), endpoint_of(exchange.scope)
        self._http.requests.labels(method, endpoint, str(exchange.status or NONE)).inc()
        self._http.seconds.labels(method, endpoint).observe(exchange.seconds)
        self._http.received.labels(endpoint).observe(exchange.received)
        self._http.sent.labels(endpoint).observe(exchange.sent)
        if exchange.status == RateLimitedError.status:
            self._http.limited.labels(endpoint).inc()
        if exchange.error in IMAGE_ERRORS:
            self._images.refused.labels(exchange.error).inc()

    def limited(self, resource: Resource) -> None:
        """Count that a limit on time, bytes or connections took effect."""
        self._http.resources.labels(resource).inc()

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
        gauges = self._gauges
        gauges.loaded.set(snapshot.model_loaded)
        gauges.model.clear()  # one series, whatever versions come and go
        gauges.model.labels(snapshot.model_version or NONE).set(1)
        gauges.active.set(snapshot.active_requests)
        gauges.queued.set(snapshot.queued_images)
        gauges.detected.set(snapshot.drift_detected)
        gauges.score.set(snapshot.drift_score)
        gauges.window.set(snapshot.drift_window)
        self._http.lines.inc(snapshot.log_lines_dropped - self._lines_dropped)
        self._lines_dropped = snapshot.log_lines_dropped
        return generate_latest(self.registry)
