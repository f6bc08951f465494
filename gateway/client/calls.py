"""Every call of the API without its I/O: what is sent, and what is made of the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import httpx

from gateway.client.answers import (
    About,
    BatchResult,
    Comparison,
    Confidence,
    Drift,
    Explanation,
    Failure,
    Health,
    Outcome,
    Prediction,
    Verdict,
)
from gateway.client.fields import read
from gateway.client.refusals import item_error, response_error

T = TypeVar("T")
EVIDENCE: Final = "evidence"
HISTOGRAM: Final = "histogram"
MODEL: Final = "model"


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the reader of its answer; `also` are statuses whose body is the answer, beside 200."""

    method: str
    path: str
    read: Callable[[object], T]
    files: Sequence[tuple[str, bytes]] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    also: frozenset[int] = frozenset()

    def arguments(self) -> dict[str, Any]:
        """What httpx wants of it."""
        # The files' own names stay here: the gateway needs none, and a name can tell more than its photo.
        files = [(name, ("photo", data, "application/octet-stream")) for name, data in self.files]
        return {"method": self.method, "url": self.path, "params": self.params, "files": files or None}

    def answer(self, response: httpx.Response) -> T:
        """Read the answer.

        Raises:
            GatewayError: It is a refusal, or nothing that the API knows.
        """
        expected = response.status_code == httpx.codes.OK
        if not expected and response.status_code not in self.also:
            raise response_error(response)
        try:
            return self.read(json.loads(response.content))
        except (ValueError, OverflowError, RecursionError) as error:
            raise response_error(response, odd=expected, reason=str(error)) from error


def predict(photo: bytes, *, evidence: bool) -> Call[Verdict]:
    """Judge one photo."""
    return Call("POST", "predict", _reader(Verdict), [("file", photo)], _include(EVIDENCE, evidence))


def explain(photo: bytes, *, evidence: bool) -> Call[Explanation]:
    """Judge one photo and show which regions drove the verdict."""
    return Call("POST", "predict/explain", _reader(Explanation), [("file", photo)], _include(EVIDENCE, evidence))


def compare(photo: bytes) -> Call[Comparison]:
    """Judge one photo by the live and by the shadow version."""
    return Call("POST", "predict/compare", _reader(Comparison), [("file", photo)])


def predict_batch(photos: Sequence[bytes]) -> Call[BatchResult]:
    """Judge several photos in one request."""

    def read_batch(body: object) -> BatchResult:
        return _batch(body, len(photos))

    return Call("POST", "predict/batch", read_batch, [("files", photo) for photo in photos])


def health(*, model: bool) -> Call[Health]:
    """State of the service; 503 has the same body."""
    return Call("GET", "health", _reader(Health), params=_include(MODEL, model), also=frozenset({503}))


def ready() -> Call[bool]:
    """Whether an inference can be served now."""
    return Call("GET", "readyz", lambda body: read(_Ready, body).ready, also=frozenset({503}))


def alive() -> Call[bool]:
    """Whether the gateway lives."""
    return Call("GET", "healthz", lambda body: read(_Alive, body).alive)


def drift(*, histogram: bool) -> Call[Drift]:
    """The newest predictions beside the model's reference."""
    return Call("GET", "drift", _reader(Drift), params=_include(HISTOGRAM, histogram))


def about() -> Call[About]:
    """Name, version and links."""
    return Call("GET", "", _reader(About))


@dataclass(frozen=True)
class _Ready:
    ready: bool


@dataclass(frozen=True)
class _Alive:
    alive: bool


@dataclass(frozen=True)
class _Item:
    prediction: Prediction | None
    probability: float | None
    confidence: Confidence | None
    error: str | None


@dataclass(frozen=True)
class _Batch:
    results: tuple[_Item, ...]
    total: int
    successful: int
    failed: int
    total_inference_time_ms: float
    model_version: str | None


def _batch(body: object, sent: int) -> BatchResult:
    found = read(_Batch, body)
    if len(found.results) != sent:
        raise ValueError("results does not have one entry per image")
    return BatchResult(
        results=tuple(_outcome(item, found.model_version) for item in found.results),
        total=found.total,
        successful=found.successful,
        failed=found.failed,
        total_inference_time_ms=found.total_inference_time_ms,
        model_version=found.model_version,
    )


def _outcome(item: _Item, model_version: str | None) -> Outcome:
    if item.error is not None:
        return Failure(item_error(item.error))
    if item.prediction is None or item.probability is None or item.confidence is None or model_version is None:
        raise ValueError("a result is neither a verdict nor an error")
    return Verdict(
        prediction=item.prediction,
        probability=item.probability,
        confidence=item.confidence,
        inference_time_ms=None,
        model_version=model_version,
    )


def _reader(kind: type[T]) -> Callable[[object], T]:
    return lambda body: read(kind, body)


def _include(extra: str, wanted: bool) -> Mapping[str, str]:
    return {"include": extra} if wanted else {}
