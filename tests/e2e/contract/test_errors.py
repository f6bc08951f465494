"""Every error, from every layer, in both forms."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import structlog
from pydantic import SecretStr
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.settings import Settings
from tests.e2e.contract.claims import JSON, NEW_ID, PROBLEM, Ask, Like, error, text
from tests.e2e.contract.gateways import Gateways
from tests.e2e.contract.pictures import MIB, as_kind, padded, photo

GIF = [("file", ("photo.jpg", as_kind("GIF"), "image/jpeg"))]
TRUNCATED = [("file", photo()[:200_000])]
KNOWN_ID = "of the client"


@dataclass(frozen=True)
class Refusal:
    """One error: the layer it comes from, the request that meets it, and what it says."""

    layer: str
    ask: Ask
    status: int
    code: str
    title: str
    detail: str | Like

    def __str__(self) -> str:
        return f"{self.layer}: {self.status} {self.code}"


REFUSALS = [
    Refusal(
        "routing",
        Ask("GET", "/nowhere"),
        404,
        "not_found",
        "Not Found",
        "There is nothing at this path.",
    ),
    Refusal(
        "methods",
        Ask("GET", "/predict"),
        405,
        "method_not_allowed",
        "Method Not Allowed",
        "This path does not support this method.",
    ),
    Refusal(
        "body limits",
        Ask("POST", "/predict", files=[("file", padded(6 * MIB))]),
        413,
        "file_too_large",
        "File too large",
        "Maximum file size: 5 MB",
    ),
    Refusal(
        "authentication",
        Ask("POST", "/predict", "keyed"),
        401,
        "unauthorized",
        "Unauthorized",
        "No API key was sent. Send yours in the header X-API-Key.",
    ),
    Refusal(
        "rates",
        Ask("POST", "/predict", "proxied", {"X-Forwarded-For": "203.0.113.99"}, times=2),
        429,
        "rate_limited",
        "Rate limit exceeded",
        text("the rate and the wait", lambda found: found.startswith("At most 1 requests a minute. Please retry in ")),
    ),
    Refusal(
        "forms",
        Ask("POST", "/predict/batch", content=b"no form"),
        400,
        "invalid_form",
        "Invalid form data",
        text("the form", lambda found: found.startswith("The request must be multipart/form-data. Send 1 to 10 ")),
    ),
    Refusal(
        "images",
        Ask("POST", "/predict", files=GIF),
        400,
        "invalid_image_format",
        "Invalid image format",
        "Supported formats: JPEG, PNG, WebP. Got: image/gif",
    ),
    Refusal(
        "the model",
        Ask("POST", "/predict/explain", files=TRUNCATED),
        400,
        "corrupt_image",
        "Invalid image",
        "The image is truncated or corrupt.",
    ),
    Refusal(
        "the model server",
        Ask("POST", "/predict", "down", files=[("file", as_kind("JPEG"))]),
        503,
        "service_unavailable",
        "Service unavailable",
        "The model is not available right now. Please retry.",
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_an_error_is_the_documented_json(refusal: Refusal, gateways: Gateways, mount: str) -> None:
    answer = refusal.ask.send(gateways, mount, **{"X-Request-ID": KNOWN_ID})
    assert (answer.status_code, answer.headers["content-type"]) == (refusal.status, JSON)
    assert list(answer.json().items()) == list(error(refusal.title, refusal.detail).items())
    assert answer.headers["x-request-id"] == KNOWN_ID


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_the_same_error_comes_as_rfc_9457(refusal: Refusal, gateways: Gateways, mount: str) -> None:
    answer = refusal.ask.send(gateways, mount, **{"X-Request-ID": KNOWN_ID, "Accept": f"{PROBLEM}, */*;q=0.1"})
    assert (answer.status_code, answer.headers["content-type"]) == (refusal.status, PROBLEM)
    assert answer.json() == {
        "type": f"urn:ai-product-photo-detector:error:{refusal.code}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.detail,
    }
    assert answer.headers["x-request-id"] == KNOWN_ID


def test_the_documented_error_byte_for_byte(gateways: Gateways, mount: str) -> None:
    answer = Ask("POST", "/predict", files=GIF).send(gateways, mount)
    assert answer.text == (
        '{"error":"Invalid image format","detail":"Supported formats: JPEG, PNG, WebP. Got: image/gif"}'
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"BREW /predict HTTP/1.1\r\nHost: gateway\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nno header\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nX-Request-ID: " + b"x" * 66_000,
    ],
    ids=["an unknown method", "no header", "a head without an end"],
)
def test_what_is_no_http_gets_an_error_too(gateways: Gateways, raw: bytes) -> None:
    address = urlsplit(str(gateways.clients["open"].base_url))
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as client:
        client.sendall(raw)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        body = json.loads(answer.read())
    assert (answer.status, answer.headers["content-type"]) == (400, JSON)
    assert body == error("Bad Request", "Malformed HTTP request.")
    assert answer.headers["x-request-id"] == NEW_ID


@pytest.fixture
def buggy() -> Iterator[TestClient]:
    """A gateway with a bug in it, which no real one should have."""

    async def bug(_: httpx.Request) -> httpx.Response:
        raise RuntimeError("/etc/secret")

    settings = Settings(api_keys=SecretStr(""), require_auth=False, rate_limit_enabled=False, drift_file=Path())
    app = create_app(settings, httpx.MockTransport(bug))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
    structlog.reset_defaults()


@pytest.mark.parametrize("accept", [JSON, PROBLEM])
def test_an_unhandled_exception_is_500_and_tells_nothing(buggy: TestClient, mount: str, accept: str) -> None:
    answer = buggy.post(f"{mount}/predict", files={"file": as_kind("JPEG")}, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (500, accept)
    assert answer.json()["detail"] == "An unexpected error occurred."
    assert answer.headers["x-request-id"] == NEW_ID
