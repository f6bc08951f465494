"""The Python client of the gateway: `from gateway.client import Client`. It needs httpx and pydantic."""

# ruff: noqa: I001 - a name as itself is one to import from here; sorted, each would have a statement of its own
from gateway.client.answers import (
    About as About,
    BatchResult as BatchResult,
    Comparison as Comparison,
    Drift as Drift,
    Evidence as Evidence,
    Explanation as Explanation,
    Failure as Failure,
    Health as Health,
    Outcome as Outcome,
    Verdict as Verdict,
    GatewayError as GatewayError,
    KeyRefusedError as KeyRefusedError,
    NotReadyError as NotReadyError,
    OddAnswerError as OddAnswerError,
    PhotoRefusedError as PhotoRefusedError,
    PhotoTooLargeError as PhotoTooLargeError,
    PhotoUnreadableError as PhotoUnreadableError,
    RequestRefusedError as RequestRefusedError,
    ServiceDownError as ServiceDownError,
    ServiceFailedError as ServiceFailedError,
    ServiceSlowError as ServiceSlowError,
    TooManyRequestsError as TooManyRequestsError,
)
from gateway.client.calls import Photo as Photo
from gateway.client.clients import AsyncClient as AsyncClient, Client as Client
from gateway.schemas import (
    Confidence as Confidence,
    DriftCheck as DriftCheck,
    DriftHistogram as DriftHistogram,
    DriftStatistics as DriftStatistics,
    DriftSummary as DriftSummary,
    ModelInfo as ModelInfo,
    Prediction as Prediction,
)
