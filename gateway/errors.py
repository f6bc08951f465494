"""The errors that clients see, and the one place that turns an exception into an answer."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from gateway.context import context_of
from gateway.schemas import PROBLEM_TYPE, ErrorBody, ProblemBody

RETRY_AFTER_S: Final = 5
"""Between a 503 and another attempt."""
PROBLEM_JSON: Final = "application/problem+json"
_QUALITY: Final = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


class ApiError(Exception):
    """An error for clients: status, stable code, title and detail; by itself a bug, logged under the request id."""

    status: int = 500
    code: str = "internal_error"
    title: str = "Internal server error"

    def __init_subclass__(cls, status: int = status, code: str = code, title: str = title) -> None:
        super().__init_subclass__()
        cls.status, cls.code, cls.title = status, code, title

    def __init__(self, detail: str = "An unexpected error occurred.", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{self.title}: {detail}")
        self.detail = detail
        self.headers = dict(headers or {})


class InvalidFormError(ApiError, status=400, code="invalid_form", title="Invalid form data"):
    """Not multipart, broken off, text instead of a file, or too many or too large other fields; `detail` says which."""


class InvalidParameterError(ApiError, status=400, code="invalid_parameter", title="Invalid parameter"):
    """A query parameter has a value that the route does not support."""


class MissingFileError(ApiError, status=400, code="missing_file", title="Missing file"):
    """No file in the expected field; `detail` names the fields that came instead."""


class TooManyFilesError(ApiError, status=400, code="too_many_files", title="Too many files"):
    """More files than the route accepts."""


class EmptyFileError(ApiError, status=400, code="empty_file", title="Empty file"):
    """A file is empty."""


class InvalidFormatError(ApiError, status=400, code="invalid_image_format", title="Invalid image format"):
    """The content is not a JPEG, PNG or WebP."""


class CorruptImageError(ApiError, status=400, code="corrupt_image", title="Invalid image"):
    """The image is truncated or corrupt."""


class InvalidDimensionsError(ApiError, status=400, code="invalid_image_dimensions", title="Invalid image dimensions"):
    """A side or the area is out of bounds."""


class UnauthorizedError(ApiError, status=401, code="unauthorized", title="Unauthorized"):
    """No key in `X-API-Key`, or a wrong one; `detail` says which."""


class NoShadowVersionError(ApiError, status=404, code="no_shadow_version", title="No shadow version"):
    """A comparison without a configured shadow version; retrying does not help."""

    def __init__(self) -> None:
        super().__init__("This service runs one version of the model, so there is nothing to compare it with.")


class SlowRequestError(ApiError, status=408, code="request_timeout", title="Request timeout"):
    """A head or body did not arrive in time."""

    def __init__(self) -> None:
        super().__init__("The request did not arrive in time. Please send it again.", {"Connection": "close"})


class FileTooLargeError(ApiError, status=413, code="file_too_large", title="File too large"):
    """A file exceeds its limit."""


class BodyTooLargeError(ApiError, status=413, code="request_too_large", title="Request too large"):
    """A request exceeds its route's limit."""


class RateLimitedError(ApiError, status=429, code="rate_limited", title="Rate limit exceeded"):
    """The client exceeds its rate."""


class UnavailableError(ApiError, status=503, code="service_unavailable", title="Service unavailable"):
    """Model server down, loading, full or too slow; too many uploads or connections; Redis unavailable; stopping."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail} Please retry.", {"Retry-After": str(RETRY_AFTER_S)})


class _HttpError(ApiError):
    """Starlette's own refusals: 404, 405 and the like."""

    def __init__(self, error: HTTPException) -> None:
        phrase = HTTPStatus(error.status_code).phrase
        self.status, self.code, self.title = error.status_code, phrase.lower().replace(" ", "_"), phrase
        super().__init__(_HTTP_DETAILS.get(error.status_code, phrase), error.headers)


_HTTP_DETAILS: Final = {
    400: "Malformed HTTP request.",
    404: "There is nothing at this path.",
    405: "This path does not support this method.",
}


class _ClientGoneError(ApiError, status=499, code="client_closed_request", title="Client closed request"):
    """The client hung up: nginx's status, which only the log ever shows."""


def as_api_error(error: Exception) -> ApiError:
    """The client's view of any exception; nothing of an unexpected one gets through."""
    match error:
        case ApiError():
            return error
        case HTTPException():
            return _HttpError(error)
        case ClientDisconnect():
            return _ClientGoneError("The client closed the connection.")
        case _:
            return ApiError()


async def render(request: Request, error: Exception) -> Response:
    """Any exception as JSON, or as RFC 9457 when the client asks for it."""
    api_error = as_api_error(error)
    context_of(request).failed(api_error.code)
    headers = {"Vary": "Accept", **api_error.headers}
    if accepted(request).get(PROBLEM_JSON):
        return JSONResponse(problem_body(api_error).model_dump(), api_error.status, headers, media_type=PROBLEM_JSON)
    return JSONResponse(error_body(api_error).model_dump(), api_error.status, headers)


async def render_method_not_allowed(request: Request, error: Exception) -> Response:
    """A 405 with `Allow`, or the plain answer to `OPTIONS`, which is the same header without the blame."""
    refused = as_api_error(error)
    methods = {method.strip() for method in refused.headers["Allow"].split(",")}
    refused.headers["Allow"] = ", ".join(sorted(methods | {"OPTIONS"}))
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=refused.headers)
    return await render(request, refused)


def accepted(request: Request) -> dict[str, float]:
    """The media ranges that a client accepts, each with how much it wants it; 0 is not at all, and so is nonsense."""
    ranges = {}
    for entry in ",".join(request.headers.getlist("accept")).lower().split(","):
        name, *options = (part.strip() for part in entry.split(";"))
        quality = next((option[2:] for option in options if option.startswith("q=")), "1")
        ranges[name] = float(quality) if _QUALITY.fullmatch(quality) else 0.0
    return ranges


def prefers(request: Request, kind: str, usual: str) -> bool:
    """Whether a client wants a media type more than the usual one; the most specific range decides (RFC 9110)."""
    ranges = accepted(request)

    def wanted(media: str) -> float:
        matching = (media, f"{media.partition('/')[0]}/*", "*/*")
        return next((ranges[name] for name in matching if name in ranges), 0.0)

    return wanted(kind) > wanted(usual)


def error_body(error: ApiError) -> ErrorBody:
    """An error as most clients see it."""
    return ErrorBody(error=error.title, detail=error.detail)


def problem_body(error: ApiError) -> ProblemBody:
    """An error as RFC 9457 has it."""
    return ProblemBody(type=PROBLEM_TYPE + error.code, title=error.title, status=error.status, detail=error.detail)
