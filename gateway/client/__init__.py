"""The Python client of the gateway: `from gateway.client import Client`. It needs httpx and pydantic."""

# ruff: noqa: I001 - a name as itself is one to import from here; sorted, each would have a line of its own
from gateway.client.calls import Photo as Photo
from gateway.client.clients import AsyncClient as AsyncClient, Client as Client
from gateway.schemas import Confidence as Confidence, Prediction as Prediction

# answers
from gateway.client.answers import About as About, Drift as Drift, Health as Health
from gateway.client.answers import Comparison as Comparison, Evidence as Evidence, Explanation as Explanation
from gateway.client.answers import BatchResult as BatchResult, Outcome as Outcome
from gateway.client.answers import Failure as Failure, Verdict as Verdict

# errors
from gateway.client.answers import GatewayError as GatewayError, OddAnswerError as OddAnswerError
from gateway.client.answers import KeyRefusedError as KeyRefusedError, RequestRefusedError as RequestRefusedError
from gateway.client.answers import PhotoRefusedError as PhotoRefusedError, PhotoTooLargeError as PhotoTooLargeError
from gateway.client.answers import PhotoUnreadableError as PhotoUnreadableError
from gateway.client.answers import NotReadyError as NotReadyError, TooManyRequestsError as TooManyRequestsError
from gateway.client.answers import ServiceDownError as ServiceDownError, ServiceSlowError as ServiceSlowError
from gateway.client.answers import ServiceFailedError as ServiceFailedError
