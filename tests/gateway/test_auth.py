from __future__ import annotations

import hashlib

import pytest

from gateway.errors import UnauthorizedError
from gateway.security import KeyRing
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import TorchServe, picture, upload

FILES = {"file": upload(picture("JPEG"))}
MISSING = {"error": "Unauthorized", "detail": "No API key was sent. Send yours in the header X-API-Key."}
INVALID = {
    "error": "Unauthorized",
    "detail": "The API key in the header X-API-Key is not valid. Send a valid one, or ask the service's operator.",
}


def test_without_keys_everyone_may(open_client: OpenClient) -> None:
    assert open_client().post("/predict", files=FILES).status_code == 200
    assert open_client().post("/predict", files=FILES, headers={"X-API-Key": "any"}).status_code == 200


def test_each_configured_key_opens(open_client: OpenClient) -> None:
    client = open_client(api_keys="alpha, beta,,schlüssel ")
    for key in ("alpha", "beta", "schlüssel"):
        assert client.post("/predict", files=FILES, headers=[(b"X-API-Key", key.encode())]).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": ""}, {"Authorization": "Bearer alpha"}, {"X-API-Key": "alph"}, {"X-API-Key": "alpha, beta"}],
)
def test_no_key_or_a_wrong_one_is_401(open_client: OpenClient, torchserve: TorchServe, headers: dict[str, str]) -> None:
    client = open_client(api_keys="alpha,beta")
    for path in ("/predict", "/predict/batch", "/predict/explain", "/predict/compare", "/v1/predict"):
        answer = client.post(path, files=FILES, headers=headers)
        assert (answer.status_code, answer.json()) == (401, INVALID if headers.get("X-API-Key") else MISSING)
        assert answer.headers["www-authenticate"] == 'ApiKey realm="predictions"'
    assert torchserve.requests == []


def test_required_without_keys_refuses_every_prediction(open_client: OpenClient) -> None:
    client = open_client(require_auth=True)
    assert client.post("/predict", files=FILES, headers={"X-API-Key": "any"}).json() == INVALID
    assert client.post("/predict", files=FILES).status_code == 401
    assert client.post("/predict", files=FILES, headers={"X-API-Key": ""}).status_code == 401


def test_probes_and_the_index_stay_open(open_client: OpenClient) -> None:
    client = open_client(api_keys="alpha")
    paths = ("/", "/health", "/healthz", "/readyz", "/startup", "/metrics", "/drift", "/privacy", "/docs")
    assert {client.get(path).status_code for path in paths} == {200}


def test_a_key_is_logged_by_its_short_id_alone(open_client: OpenClient, log_lines: LogLines) -> None:
    client = open_client(api_keys="alpha-secret")
    client.post("/predict", files=FILES, headers={"X-API-Key": "alpha-secret"})
    client.post("/predict", files=FILES, headers={"X-API-Key": "wrong-secret"})
    accepted, refused = log_lines()
    assert accepted["key_id"] == hashlib.sha256(b"alpha-secret").hexdigest()[:8]
    assert "key_id" not in refused
    assert "secret" not in f"{accepted}{refused}"


def test_a_ring_keeps_no_key_in_the_clear() -> None:
    ring = KeyRing(["alpha"], required=False)
    assert "alpha" not in repr(vars(ring))
    key = ring.identify("alpha")
    assert key is not None
    assert key.id == "8ed3f6ad"
    with pytest.raises(UnauthorizedError):
        ring.identify(None)
