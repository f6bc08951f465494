"""The Python client of the gateway: `from gateway.client import Client`. It needs httpx and nothing else."""

from __future__ import annotations

from gateway.client.answers import (
    About,
    BatchResult,
    Comparison,
    Confidence,
    Drift,
    DriftCheck,
    DriftHistogram,
    DriftStatistics,
    DriftSummary,
    Evidence,
    Explanation,
    Failure,
    Health,
    Outcome,
    Prediction,
    Verdict,
)
from gateway.client.asynchronous import AsyncClient
from gateway.client.errors import (
    GatewayError,
    KeyRefusedError,
    NotReadyError,
    OddAnswerError,
    PhotoRefusedError,
    PhotoTooLargeError,
    PhotoUnreadableError,
    RequestRefusedError,
    ServiceDownError,
    ServiceFailedError,
    ServiceSlowError,
    TooManyRequestsError,
)
from gateway.client.photos import Photo
from gateway.client.synchronous import Client

__all__ = [
    "About",
    "AsyncClient",
    "BatchResult",
    "Client",
    "Comparison",
    "Confidence",
    "Drift",
    "DriftCheck",
    "DriftHistogram",
    "DriftStatistics",
    "DriftSummary",
    "Evidence",
    "Explanation",
    "Failure",
    "GatewayError",
    "Health",
    "KeyRefusedError",
    "NotReadyError",
    "OddAnswerError",
    "Outcome",
    "Photo",
    "PhotoRefusedError",
    "PhotoTooLargeError",
    "PhotoUnreadableError",
    "Prediction",
    "RequestRefusedError",
    "ServiceDownError",
    "ServiceFailedError",
    "ServiceSlowError",
    "TooManyRequestsError",
    "Verdict",
]
