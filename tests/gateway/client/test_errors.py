"""One family of errors, each with what to do next, in step with the gateway's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

import gateway.errors
from gateway.client import answers as errors
from gateway.errors import ApiError, InvalidFormatError
from tests.gateway.client.wire import refusal

Call = Callable[..., Any]
OF_A_PHOTO = {
    "EmptyFileError",
    "InvalidFormatError",
    "CorruptImageError",
    "InvalidDimensionsError",
    "FileTooLargeError",
}


def failure(call: Call, answer: httpx.Response) -> errors.GatewayError:
    with pytest.raises(errors.GatewayError) as caught:
        call(lambda _: answer, "predict", b"photo")
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_image_format", errors.PhotoRefusedError),
        (400, "invalid_parameter", errors.RequestRefusedError),
        (401, "unauthorized", errors.KeyRefusedError),
        (403, "", errors.KeyRefusedError),
        (404, "no_shadow_version", errors.RequestRefusedError),
        (413, "file_too_large", errors.PhotoTooLargeError),
        (429, "rate_limited", errors.TooManyRequestsError),
        (500, "internal_error", errors.ServiceFailedError),
        (502, "", errors.NotReadyError),
        (503, "service_unavailable", errors.NotReadyError),
        (504, "", errors.ServiceSlowError),
        (302, "", errors.OddAnswerError),
    ],
)
def test_a_refusal_has_all_that_the_gateway_says(
    call: Call, status: int, code: str, kind: type[errors.GatewayError]
) -> None:
    error = failure(call, refusal(status, code, **{"Retry-After": "17"}))
    assert (type(error), error.status, error.code, error.detail) == (kind, status, code, "Because.")
    assert (error.request_id, error.retry_after_s) == ("abc", 17)
    assert str(error) == f"{kind.title}: Because. {kind.advice}"


def test_the_short_form_of_an_error_is_read_as_well(call: Call) -> None:
    error = failure(call, httpx.Response(400, json={"error": "Invalid image format", "detail": "Got: image/gif"}))
    assert (type(error), error.code, error.detail) == (
        errors.PhotoRefusedError,
        "invalid_image_format",
        "Got: image/gif",
    )


@pytest.mark.parametrize("text", ["<html>nginx</html>", "[]", "", '{"detail": 5}', "[" * 100_000])
def test_a_proxys_own_page_is_not_shown(call: Call, text: str) -> None:
    error = failure(call, httpx.Response(502, text=text))
    assert (type(error), error.detail, error.code, error.request_id) == (errors.NotReadyError, "", "", "")


@pytest.mark.parametrize("text", ["Fri, 31 Dec 1999 23:59:59 GMT", "-1", "1.5", "²", "9" * 30, ""])
def test_a_retry_after_that_is_no_number_of_seconds_is_none(call: Call, text: str) -> None:
    headers = [(b"Retry-After", text.encode())]
    assert failure(call, httpx.Response(503, json={}, headers=headers)).retry_after_s is None


@pytest.mark.parametrize(
    ("raised", "kind", "code"),
    [
        (httpx.ConnectError, errors.ServiceDownError, "no_answer"),
        (httpx.ConnectTimeout, errors.ServiceDownError, "no_answer"),
        (httpx.RemoteProtocolError, errors.ServiceDownError, "no_answer"),
        (httpx.ReadError, errors.ServiceDownError, "no_answer"),
        (httpx.ReadTimeout, errors.ServiceSlowError, "timeout"),
        (httpx.WriteTimeout, errors.ServiceSlowError, "timeout"),
        (httpx.PoolTimeout, errors.ServiceSlowError, "timeout"),
    ],
)
def test_trouble_on_the_way_says_nothing_of_addresses(
    call: Call, raised: type[httpx.TransportError], kind: type[errors.GatewayError], code: str
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise raised("http://10.0.0.1", request=request)

    with pytest.raises(errors.GatewayError) as caught:
        call(handler, "predict", b"photo")
    assert (type(caught.value), caught.value.code, caught.value.status) == (kind, code, None)
    assert str(caught.value) == f"{kind.title}. {kind.advice}"


def test_all_that_a_gateway_says_of_one_photo_is_known() -> None:
    theirs = {getattr(gateway.errors, name) for name in OF_A_PHOTO | {"UnavailableError", "ApiError"}}
    assert {kind.title: (kind.status, kind.code) for kind in theirs} == {
        title: (status, code) for title, (_, status, code) in errors.ITEM_ERRORS.items()
    }
    assert {kind.code for kind in theirs if kind.status == 400} == errors.PHOTO_CODES


def test_an_items_text_is_taken_apart_as_the_gateway_put_it_together() -> None:
    for theirs in (InvalidFormatError("Got: image/gif"), ApiError()):
        error = errors.item_error(str(theirs))
        assert (error.status, error.code, error.detail) == (theirs.status, theirs.code, theirs.detail)
    later = errors.item_error("Too blue: Give less blue.")
    assert (type(later), later.code, later.detail) == (errors.PhotoRefusedError, "", "Give less blue.")
