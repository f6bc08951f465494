import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.ui.fakes import answer, heatmap
from ui.answer import Answer
from ui.client import GatewayClient, open_client
from ui.errors import (
    CheckError,
    KeyRefused,
    OddAnswer,
    PhotoRefused,
    PhotoTooLarge,
    ServiceDown,
    ServiceNotReady,
    ServiceSlow,
    TooManyChecks,
)
from ui.settings import Settings

Handler = Callable[[httpx.Request], httpx.Response]


@contextmanager
def client(handler: Handler, url: str = "http://gateway:8080") -> Iterator[GatewayClient]:
    with open_client(Settings(gateway_url=url), httpx.MockTransport(handler)) as opened:
        yield opened


def replies(status: int, body: object = None, headers: dict[str, str] | None = None) -> Handler:
    return lambda _: httpx.Response(status, json=body, headers=headers)


def fails(kind: type[httpx.TransportError]) -> Handler:
    def handler(request: httpx.Request) -> httpx.Response:
        raise kind("somewhere inside", request=request)

    return handler


def failure(handler: Handler, **options: str) -> CheckError:
    with client(handler) as asked, pytest.raises(CheckError) as caught:
        asked.explain(b"photo", **options)
    return caught.value


def test_the_documented_answer_is_read(png: bytes) -> None:
    with client(replies(200, answer(png))) as asked:
        assert asked.explain(png) == Answer("ai_generated", 0.87, "high", heatmap(png), 120.5, "1.0.0")


def test_the_photo_goes_to_the_documented_place_with_key_and_caller_and_without_its_name(png: bytes) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=answer(png))

    with client(handler, "http://gateway:8080/v1") as asked:
        asked.explain(png, key=" secret ", caller="10.0.0.7")
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "http://gateway:8080/v1/predict/explain")
    assert (request.headers["X-API-Key"], request.headers["X-Forwarded-For"]) == ("secret", "10.0.0.7")
    assert png in request.content
    assert b'name="file"; filename="photo"' in request.content


def test_without_a_key_none_is_sent(png: bytes) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert "X-API-Key" not in request.headers
        return httpx.Response(200, json=answer(png))

    with client(handler) as asked:
        asked.explain(png, key="  ")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, PhotoRefused),
        (401, KeyRefused),
        (403, KeyRefused),
        (413, PhotoTooLarge),
        (429, TooManyChecks),
        (500, OddAnswer),
        (502, ServiceNotReady),
        (503, ServiceNotReady),
        (504, ServiceSlow),
    ],
)
def test_an_error_carries_the_gateways_detail_and_request_id(status: int, kind: type[CheckError]) -> None:
    error = failure(replies(status, {"error": "No", "detail": "Because."}, {"X-Request-ID": "abc"}))
    assert (type(error), error.detail, error.reference) == (kind, "Because.", "abc")


def test_retry_after_is_read_in_seconds() -> None:
    assert failure(replies(429, {}, {"Retry-After": "17"})).retry_after_s == 17
    assert failure(replies(503, {}, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})).retry_after_s is None


def test_the_short_error_stands_in_for_a_missing_detail() -> None:
    assert failure(replies(400, {"error": "Invalid image format"})).detail == "Invalid image format"


def test_a_proxys_html_is_not_shown() -> None:
    error = failure(lambda _: httpx.Response(502, html="<html>nginx</html>"))
    assert (type(error), error.detail) == (ServiceNotReady, "")


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ConnectError, ServiceDown),
        (httpx.ConnectTimeout, ServiceDown),
        (httpx.RemoteProtocolError, ServiceDown),
        (httpx.ReadTimeout, ServiceSlow),
        (httpx.WriteTimeout, ServiceSlow),
    ],
)
def test_trouble_on_the_way_says_nothing_of_addresses(
    raised: type[httpx.TransportError], kind: type[CheckError]
) -> None:
    error = failure(fails(raised))
    assert (type(error), error.detail) == (kind, "")


@pytest.mark.parametrize("key", ["clé", "two\nlines"])
def test_a_key_that_cannot_be_a_header_is_refused_here(key: str) -> None:
    assert type(failure(replies(200), key=key)) is KeyRefused


@pytest.mark.parametrize(
    "change",
    [
        {"prediction": "fake"},
        {"prediction": None},
        {"probability": 1.2},
        {"probability": "0.87"},
        {"probability": True},
        {"confidence": "sure"},
        {"heatmap_base64": "not base64!"},
        {"heatmap_base64": "PHN2Zz4="},
        {"inference_time_ms": -1},
        {"model_version": ""},
    ],
)
def test_an_answer_that_is_not_as_documented_is_an_error(png: bytes, change: dict[str, Any]) -> None:
    assert type(failure(replies(200, answer(png, **change)))) is OddAnswer


@pytest.mark.parametrize("text", ["", "[]", "null", "<html>", json.dumps({"prediction": "real"})])
def test_a_body_that_is_no_answer_is_an_error(text: str) -> None:
    assert type(failure(lambda _: httpx.Response(200, text=text))) is OddAnswer
