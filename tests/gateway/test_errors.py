from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from gateway.errors import ApiError
from tests.gateway.conftest import LogLines
from tests.gateway.fakes import TorchServe, picture, upload

FILES = {"file": upload(picture("JPEG"))}
NOT_FOUND = {"error": "Not Found", "detail": "There is nothing at this path."}
WRONG_METHOD = {"error": "Method Not Allowed", "detail": "This path does not support this method."}


def test_an_unknown_path_is_404(client: TestClient) -> None:
    for path in ("/nowhere", "/v1/nowhere", "/v1x", "/predict/", "/v2/predict", "/%00"):
        answer = client.post(path, follow_redirects=False)
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND), path


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/predict", "OPTIONS, POST"),
        ("HEAD", "/predict/batch", "OPTIONS, POST"),
        ("DELETE", "/predict/explain", "OPTIONS, POST"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("BREW", "/", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_405_with_allow(client: TestClient, prefix: str, method: str, path: str, allow: str) -> None:
    answer = client.request(method, prefix + path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allow
    assert answer.text == "" if method == "HEAD" else answer.json() == WRONG_METHOD


def test_a_bug_is_500_and_tells_nothing(client: TestClient, torchserve: TorchServe, log_lines: LogLines) -> None:
    async def bug(_: object) -> None:
        raise RuntimeError("/etc/secret")

    torchserve.handler = bug  # type: ignore[assignment]
    answer = client.post("/predict", files=FILES)
    assert answer.status_code == 500
    assert answer.json() == {"error": "Internal server error", "detail": "An unexpected error occurred."}
    assert len(answer.headers["x-request-id"]) == 32
    exception, line = log_lines()
    assert exception["event"] == "unhandled_exception"
    assert exception["request_id"] == line["request_id"] == answer.headers["x-request-id"]
    assert "RuntimeError: /etc/secret" in exception["exception"]
    assert line["status"] == 500


@pytest.mark.parametrize("accept", ["text/html, Application/Problem+JSON;q=0.9", "application/problem+json, */*"])
def test_problem_json_comes_when_asked_for(client: TestClient, accept: str) -> None:
    answer = client.post("/predict", files={"file": upload(picture("GIF"))}, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.headers["vary"] == "Accept"
    assert answer.json() == {
        "type": "urn:ai-product-photo-detector:error:invalid_image_format",
        "title": "Invalid image format",
        "status": 400,
        "detail": "Supported formats: JPEG, PNG, WebP. Got: image/gif",
    }


def test_problem_json_does_not_come_when_it_is_refused(client: TestClient) -> None:
    answer = client.get("/nowhere", headers={"Accept": "application/problem+json;q=0, */*"})
    assert answer.headers["content-type"] == "application/json"


def subclasses(kind: type[ApiError]) -> list[type[ApiError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in subclasses(child))]
