"""From a refusal as it came over the wire to its error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import httpx

from gateway.client.errors import (
    GatewayError,
    KeyRefusedError,
    NotReadyError,
    OddAnswerError,
    PhotoRefusedError,
    PhotoTooLargeError,
    RequestRefusedError,
    ServiceDownError,
    ServiceFailedError,
    ServiceSlowError,
    TooManyRequestsError,
)

PROBLEM_TYPE: Final = "urn:ai-product-photo-detector:error:"
TOO_MANY_FILES: Final = "too_many_files"
REQUEST_TOO_LARGE: Final = "request_too_large"
DETAIL_MAX_CHARS: Final = 400
ID_MAX_CHARS: Final = 128

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

PHOTO_CODES: Final = frozenset(code for kind, status, code in ITEM_ERRORS.values() if status == httpx.codes.BAD_REQUEST)


def response_error(response: httpx.Response, *, odd: bool = False, reason: str = "") -> GatewayError:
    """Return the error that an answer stands for; `odd` is one that should have been read."""
    body = _body(response)
    status, code = response.status_code, _code(body)
    kind = OddAnswerError if odd else KINDS.get(status, OddAnswerError)
    if kind is RequestRefusedError and code in PHOTO_CODES:
        kind = PhotoRefusedError
    return kind(
        reason if odd else _detail(body),
        status=status,
        code=code,
        request_id=request_id(response),
        retry_after_s=_retry_after(response),
    )


def item_error(text: str) -> GatewayError:
    """Return the error of one photo in a batch, which comes as its title and its detail in one text."""
    title, _, detail = text.partition(": ")
    kind, status, code = ITEM_ERRORS.get(title, (PhotoRefusedError, 400, ""))
    return kind((detail or title)[:DETAIL_MAX_CHARS], status=status, code=code)


def transport_error(error: httpx.HTTPError) -> GatewayError:
    """Return the error of a call that got no answer; it names no address."""
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return ServiceSlowError(code="timeout")
    return ServiceDownError(code="no_answer")


def request_id(response: httpx.Response) -> str:
    """Return the id by which the gateway's log knows the request."""
    return str(response.headers.get("X-Request-ID", ""))[:ID_MAX_CHARS]


def _body(response: httpx.Response) -> Mapping[str, object]:
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _code(body: Mapping[str, object]) -> str:
    kind, title = body.get("type"), body.get("error")
    if isinstance(kind, str) and kind.startswith(PROBLEM_TYPE):
        return kind.removeprefix(PROBLEM_TYPE)[:ID_MAX_CHARS]
    known = ITEM_ERRORS.get(title) if isinstance(title, str) else None
    return known[2] if known else ""


def _detail(body: Mapping[str, object]) -> str:
    text = body.get("detail") or body.get("title") or body.get("error")
    return text.strip()[:DETAIL_MAX_CHARS] if isinstance(text, str) else ""


def _retry_after(response: httpx.Response) -> int | None:
    text = response.headers.get("Retry-After", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None  # noqa: PLR2004 - a week
