from __future__ import annotations

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from gateway.settings import Settings
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import TorchServe, picture, upload

FILES = {"file": upload(picture("JPEG"))}
SHOP = "https://shop.example"
STRICT = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/predict", 401),
        ("GET", "/predict", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("OPTIONS", "/v1/predict", 204),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs/nowhere", 404),
        ("GET", "/privacy", 200),
        ("GET", "/health", 503),
        ("GET", "/readyz", 503),
    ],
)
def test_every_answer_has_the_strict_headers_and_the_requests_id(
    open_client: OpenClient, torchserve: TorchServe, method: str, path: str, status: int
) -> None:
    torchserve.down()
    answer = open_client(api_keys="alpha").request(method, path, headers={"X-Request-ID": "trace-1"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (status, "trace-1")
    assert {name: answer.headers[name] for name in STRICT} == STRICT


def test_pages_get_what_they_need_and_no_more(client: TestClient) -> None:
    page = client.get("/docs").headers["content-security-policy"]
    assert page == (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    privacy = client.get("/privacy", headers={"Accept": "text/html"}).headers["content-security-policy"]
    assert privacy == (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def test_no_origin_is_allowed_by_default(client: TestClient) -> None:
    asking = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}
    for answer in (client.options("/predict", headers=asking), client.post("/predict", files=FILES, headers=asking)):
        assert [name for name in answer.headers if name.startswith("access-control-")] == []


def test_an_allowed_origin_may_read_answers_and_their_headers(open_client: OpenClient) -> None:
    client = open_client(cors_origins=f"https://other.example, {SHOP}")
    answer = client.post("/predict", files=FILES, headers={"Origin": SHOP})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert answer.headers["access-control-expose-headers"] == "X-Request-ID, Retry-After, RateLimit, RateLimit-Policy"
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]


def test_another_origin_may_not(open_client: OpenClient) -> None:
    client = open_client(cors_origins=SHOP)
    for origin in ("https://evil.example", "null", f"{SHOP}.evil.example", "http://shop.example"):
        asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        assert "access-control-allow-origin" not in client.options("/predict", headers=asking).headers
        assert "access-control-allow-origin" not in client.post("/predict", files=FILES, headers=asking).headers


def test_a_preflight_is_an_options_with_an_id_and_a_log_line(open_client: OpenClient, log_lines: LogLines) -> None:
    client = open_client(cors_origins=SHOP, api_keys="alpha")
    asking = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key,x-request-id",
    }
    answer = client.options("/predict", headers=asking)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "OPTIONS, POST"
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert answer.headers["access-control-allow-headers"] == (
        "Accept, Accept-Language, Content-Language, Content-Type, X-API-Key, X-Request-ID"
    )
    assert answer.headers["access-control-max-age"] == "600"
    assert "Origin" in answer.headers["vary"]
    (line,) = log_lines()
    assert (line["method"], line["status"]) == ("OPTIONS", 204)
    assert line["request_id"] == answer.headers["x-request-id"]


def test_all_origins_can_be_allowed(open_client: OpenClient) -> None:
    answer = open_client(cors_origins="*").get("/healthz", headers={"Origin": SHOP})
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("origins", ["shop.example", f"{SHOP}/", f"{SHOP}/page", f"{SHOP},", "ftp://a", "a b", "null"])
def test_what_is_no_origin_is_refused_at_start_up(origins: str) -> None:
    with pytest.raises(ValidationError):
        Settings(cors_origins=origins)
