"""What comes of a call: an answer of the documented fields and no others, or an error with what to do next."""

import base64
import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Final, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gateway import schemas
from gateway.schemas import PROBLEM_TYPE, Confidence, Prediction, Strength

TOO_MANY_FILES: Final = "too_many_files"
TOO_MUCH: Final = frozenset({TOO_MANY_FILES, "request_too_large"})
"""Codes that a batch of fewer images may not meet."""
DETAIL_MAX_CHARS: Final = 400
ID_MAX_CHARS: Final = 128
RETRY_MAX_DIGITS: Final = 6  # more than a week


@dataclass(eq=False)
class GatewayError(Exception):
    """A call that ended without its answer; `status` is None when no answer came at all."""

    title: ClassVar[str] = "The call failed"
    advice: ClassVar[str] = "Try again in a moment."
    again: ClassVar[bool] = False
    """Whether the same call may succeed later."""

    detail: str = ""
    _: KW_ONLY
    status: int | None = None
    code: str = ""
    request_id: str = ""
    retry_after_s: int | None = None

    def __str__(self) -> str:
        said = f"{self.title}: {self.detail}" if self.detail else self.title
        return f"{said.removesuffix('.')}. {self.advice}"


class ServiceDownError(GatewayError):
    """Nothing answers at the gateway's address, or the connection broke."""

    title = "The gateway does not answer"
    advice = "Check that it runs and that the address is right, then try again."
    again = True


class ServiceSlowError(ServiceDownError):
    """The gateway, or a proxy in front of it, gave no answer in time."""

    title = "The gateway took too long to answer"
    advice = "Try again, with a longer timeout if it keeps happening."


class NotReadyError(GatewayError):
    """503: the model is loading, restarting, or its queue is full."""

    title = "The service is not ready"
    advice = "It may be starting or busy: try again in a moment."
    again = True


class TooManyRequestsError(GatewayError):
    """429: the rate is used up."""

    title = "Too many requests in a short time"
    advice = "Wait as long as the service says, then continue."
    again = True


class KeyRefusedError(GatewayError):
    """401 or 403: no API key, or one that the gateway does not know."""

    title = "The API key was refused"
    advice = "Use a valid key, or ask the service's operator for one."


class PhotoRefusedError(GatewayError):
    """400: not an image that the gateway takes."""

    title = "The photo cannot be checked"
    advice = "Use a complete, undamaged JPEG, PNG or WebP file."


class PhotoTooLargeError(PhotoRefusedError):
    """413: more bytes than the gateway takes."""

    title = "The photo is too large"
    advice = "Use a smaller file, or save the photo with fewer pixels."


class PhotoUnreadableError(PhotoRefusedError):
    """The file cannot be read here; nothing was sent."""

    title = "The photo cannot be read"
    advice = "Check that the file exists and is readable."


class RequestRefusedError(GatewayError):
    """Another 4xx: the gateway does not know, or does not take, what was asked."""

    title = "The gateway refused the request"
    advice = "Check that the address is a gateway's, and that its version matches this client's."


class ServiceFailedError(GatewayError):
    """500: a fault inside the gateway."""

    title = "The gateway failed internally"
    advice = "Give the service's operator the request id; the log has the cause."


class OddAnswerError(GatewayError):
    """An answer that the API's contract does not know."""

    title = "Unexpected response from the gateway"
    advice = RequestRefusedError.advice


KINDS: Final[Mapping[int, type[GatewayError]]] = {
    400: RequestRefusedError,
    401: KeyRefusedError,
    403: KeyRefusedError,
    404: RequestRefusedError,
    405: RequestRefusedError,
    413: PhotoTooLargeError,
    429: TooManyRequestsError,
    500: ServiceFailedError,
    502: NotReadyError,
    503: NotReadyError,
    504: ServiceSlowError,
}

ITEM_ERRORS: Final[Mapping[str, tuple[type[GatewayError], int, str]]] = {
    "Empty file": (PhotoRefusedError, 400, "empty_file"),
    "Invalid image format": (PhotoRefusedError, 400, "invalid_image_format"),
    "Invalid image": (PhotoRefusedError, 400, "corrupt_image"),
    "Invalid image dimensions": (PhotoRefusedError, 400, "invalid_image_dimensions"),
    "File too large": (PhotoTooLargeError, 413, "file_too_large"),
    "Service unavailable": (NotReadyError, 503, "service_unavailable"),
    "Internal server error": (ServiceFailedError, 500, "internal_error"),
}
"""What an item of a batch can fail of, by the words that its text begins with."""

PHOTO_CODES: Final = frozenset(code for _, status, code in ITEM_ERRORS.values() if status == httpx.codes.BAD_REQUEST)


def response_error(response: httpx.Response, *, odd: bool = False, reason: str = "") -> GatewayError:
    """Return the error that an answer stands for; `odd` is one that should have been read."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    found = {name: text for name, text in body.items() if isinstance(text, str)} if isinstance(body, dict) else {}
    code = _code(found)
    kind = OddAnswerError if odd else KINDS.get(response.status_code, OddAnswerError)
    if kind is RequestRefusedError and code in PHOTO_CODES:
        kind = PhotoRefusedError
    detail = next(filter(None, map(found.get, ("detail", "title", "error"))), "").strip()
    wait = response.headers.get("Retry-After", "")
    return kind(
        reason if odd else detail[:DETAIL_MAX_CHARS],
        status=response.status_code,
        code=code,
        request_id=response.headers.get("X-Request-ID", "")[:ID_MAX_CHARS],
        retry_after_s=int(wait) if wait.isascii() and wait.isdigit() and len(wait) <= RETRY_MAX_DIGITS else None,
    )


def _code(body: Mapping[str, str]) -> str:
    kind = body.get("type", "")
    if kind.startswith(PROBLEM_TYPE):
        return kind.removeprefix(PROBLEM_TYPE)[:ID_MAX_CHARS]
    _, _, code = ITEM_ERRORS.get(body.get("error", ""), (None, 0, ""))
    return code


def item_error(text: str) -> GatewayError:
    """Return the error of one image in a batch, which comes as its title and its detail in one text."""
    title, _, detail = text.partition(": ")
    kind, status, code = ITEM_ERRORS.get(title, (PhotoRefusedError, 400, ""))
    return kind((detail or title)[:DETAIL_MAX_CHARS], status=status, code=code)


def transport_error(error: httpx.HTTPError) -> GatewayError:
    """Return the error of a call that got no answer; it names no address."""
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return ServiceSlowError(code="timeout")
    return ServiceDownError(code="no_answer")


JPEG_START = b"\xff\xd8"
EMPTY_HEATMAP = b"no region speaks for this verdict"
"""The comment of such a heat map's JPEG."""
T = TypeVar("T", bound=BaseModel)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())

    __str__ = BaseModel.__repr__


class Evidence(_Answer):
    """One thing that the image's file says about its origin; it is no part of the probability."""

    type: str  # not the schema's: a newer gateway may know more
    value: str
    strength: Strength


class Verdict(_Answer):
    """What the model says of one image; `evidence` is None unless it was asked for."""

    prediction: Prediction
    probability: float = Field(ge=0, le=1)
    confidence: Confidence
    inference_time_ms: float | None = Field(ge=0)
    """Wall time of the model server's answer; None in a batch, which is timed as a whole."""
    model_version: str = Field(min_length=1)
    """The version that answered; in a batch the one that answered last."""
    evidence: tuple[Evidence, ...] | None = None


class Explanation(Verdict):
    """A verdict with the regions that drove it."""

    heatmap_base64: str = Field(repr=False)

    @field_validator("heatmap_base64")
    @classmethod
    def _is_jpeg(cls, value: str) -> str:
        if not base64.b64decode(value, validate=True).startswith(JPEG_START):
            raise ValueError("not a JPEG")
        return value

    @property
    def heatmap(self) -> bytes:
        """A JPEG: the image, upright, with the heat map over it."""
        return base64.b64decode(self.heatmap_base64)

    @property
    def heatmap_is_empty(self) -> bool:
        """Whether no region speaks for the prediction, so that the heat map is the image with these words."""
        return EMPTY_HEATMAP in self.heatmap


@dataclass(frozen=True, slots=True)
class Failure:
    """An image without a prediction, and why."""

    error: GatewayError


Outcome = Verdict | Failure
About = schemas.IndexBody
Comparison = schemas.ComparisonBody
Health = schemas.HealthBody
Drift = schemas.DriftBody


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchResult:
    """One outcome per image, in the images' order."""

    results: tuple[Outcome, ...]
    total: int
    successful: int
    failed: int
    total_inference_time_ms: float
    model_version: str | None


def read(kind: type[T], content: bytes) -> T:
    """Build an answer from JSON; fields that it does not declare are ignored.

    Raises:
        ValueError: A field is missing or not of its type; the text names the field and quotes nothing.
    """
    try:
        return kind.model_validate_json(content, strict=True, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if not first["loc"]:
        raise ValueError("not a documented JSON object")
    raise ValueError(f"{first['loc'][0]} is {'missing' if first['type'] == 'missing' else 'not as documented'}")


def read_batch(content: bytes, sent: int) -> BatchResult:
    """Build a batch's answer from JSON.

    Raises:
        ValueError: As `read`, or there is not one result per image.
    """
    body = read(schemas.BatchBody, content)
    if len(body.results) != sent:
        raise ValueError("results does not have one entry per image")
    results = tuple(_outcome(item, body.model_version) for item in body.results)
    return BatchResult(results=results, **body.model_dump(exclude={"results"}))


def _outcome(item: schemas.BatchItem, model_version: str | None) -> Outcome:
    if item.error is not None:
        return Failure(item_error(item.error))
    return Verdict.model_validate(
        {**item.model_dump(exclude={"filename", "error"}), "inference_time_ms": None, "model_version": model_version}
    )
