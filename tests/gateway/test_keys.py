from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.context import ApiKey
from gateway.errors import UnauthorizedError
from gateway.security import KeyFileError, KeyRing, parse_keys
from gateway.settings import Settings
from tests.gateway.conftest import LogLines, OpenClient
from tests.gateway.fakes import TorchServe, picture, upload

FILES = {"file": upload(picture("JPEG"))}
ALPHA, BETA, GAMMA = (hashlib.sha256(key).hexdigest() for key in (b"alpha", b"beta", b"gamma"))
PAGE = Path(__file__).parents[2] / "docs" / "authentication.md"


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_an_entry_is_an_id_with_a_hash_or_a_key_and_rates() -> None:
    # Two hashes under one id, while one key replaces the other.
    rated = {"key": "beta", "rates": {"predict": 120, "batch": 20}}
    content = {"shop": {"sha256": [ALPHA.upper(), GAMMA]}, "partner-1": rated}
    assert parse_keys(json.dumps(content).encode()) == (
        ApiKey("shop", bytes.fromhex(ALPHA), {}),
        ApiKey("shop", bytes.fromhex(GAMMA), {}),
        ApiKey("partner-1", bytes.fromhex(BETA), {"predict": 120, "batch": 20}),
    )


def test_the_file_in_the_documentation_is_accepted() -> None:
    example = PAGE.read_text().partition("```json\n")[2].partition("```")[0]
    keys = parse_keys(example.encode())
    assert [key.id for key in keys] == ["shop", "partner", "partner", "ci"]
    assert keys[1].rates == {"predict": 120, "batch": 20, "explain": 40}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "API_KEYS_FILE is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "API_KEYS_FILE must be a JSON object that maps ids to objects"),
        ('{"a": {"key": "s3cret"}, "a": {"key": "x"}}', "API_KEYS_FILE is not valid JSON: a name occurs twice"),
        ('{"a": {"key": "s3cret"}, "b": {"key": "s3cret"}}', "API_KEYS_FILE: the same key occurs twice"),
        ('{"ok": {"key": "x"}, "a": {}}', "API_KEYS_FILE, entry 2: give either"),
        ('{"a": {"key": "s3cret", "sha256": "s3cret"}}', "API_KEYS_FILE, entry 1: sha256: String should match pattern"),
        ('{"a": {"sha256": []}}', "API_KEYS_FILE, entry 1: sha256: List should have at least 1 item"),
        ('{"a": {"key": ""}}', "API_KEYS_FILE, entry 1: key: String should match pattern"),
        ('{"a": {"key": "s3cret "}}', "API_KEYS_FILE, entry 1: key: String should match pattern"),
        ('{"a": "s3cret"}', "API_KEYS_FILE, entry 1: Input should be a valid dictionary"),
        ('{"a": {"s3cret": 1, "key": "x"}}', "API_KEYS_FILE, entry 1: Extra inputs are not permitted"),
        ('{"s3cret!": {"key": "x"}}', "API_KEYS_FILE, entry 1: id: String should match pattern"),
        ('{"a": {"key": "x", "rates": {"predict": 0}}}', "API_KEYS_FILE, entry 1: rates: predict: Input should be"),
        ('{"a": {"key": "x", "rates": {"fast": 1}}}', "API_KEYS_FILE, entry 1: rates: String should match pattern"),
    ],
)
def test_a_broken_file_is_refused_with_a_reason_that_quotes_no_key(text: str, reason: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        parse_keys(text.encode())
    assert str(caught.value).startswith(reason)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("text", [b"\xff", b"[" * 100_000])
def test_a_file_that_breaks_the_parser_is_just_broken(text: bytes) -> None:
    with pytest.raises(KeyFileError, match="is not valid JSON"):
        parse_keys(text)


def test_a_changed_file_is_in_force_with_the_next_request(
    open_client: OpenClient, tmp_path: Path, log_lines: LogLines
) -> None:
    path = write(tmp_path / "keys.json", {"shop": {"sha256": ALPHA}})
    client = open_client(api_keys_file=path)
    assert client.post("/predict", files=FILES, headers={"X-API-Key": "alpha"}).status_code == 200
    write(path, {"partner": {"sha256": BETA}, "ci": {"key": "gamma"}})
    assert client.post("/predict", files=FILES, headers={"X-API-Key": "alpha"}).status_code == 401
    assert client.post("/predict", files=FILES, headers={"X-API-Key": "beta"}).status_code == 200
    first, reread, refused, second = log_lines()
    assert (first["key_id"], second["key_id"]) == ("shop", "partner")
    assert (reread["event"], reread["keys"]) == ("api_keys_file_read", 2)
    assert refused["status"] == 401


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_text('{"shop": {"sha'), "API_KEYS_FILE is not valid JSON: Unterminated string"),
        (Path.unlink, "API_KEYS_FILE cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_breaks_later_leaves_the_last_good_keys_and_one_log_line(
    open_client: OpenClient, tmp_path: Path, log_lines: LogLines, spoil: Callable[[Path], None], reason: str
) -> None:
    path = write(tmp_path / "keys.json", {"shop": {"sha256": ALPHA}})
    client = open_client(api_keys_file=path)
    spoil(path)
    for _ in range(2):
        assert client.post("/predict", files=FILES, headers={"X-API-Key": "alpha"}).status_code == 200
    (line,) = [line for line in log_lines() if line["event"] != "request"]
    assert (line["event"], line["level"], line["keys_kept"]) == ("api_keys_file_broken", "error", 1)
    assert line["reason"].startswith(reason)
    write(path, {"shop": {"sha256": BETA}})
    assert client.post("/predict", files=FILES, headers={"X-API-Key": "beta"}).status_code == 200


def test_a_file_that_is_broken_or_missing_at_the_start_stops_it(
    open_client: OpenClient, tmp_path: Path, log_lines: LogLines
) -> None:
    with pytest.raises(KeyFileError, match="API_KEYS_FILE cannot be read: No such file or directory"):
        open_client(api_keys_file=tmp_path / "keys.json")
    with pytest.raises(KeyFileError, match="API_KEYS_FILE must be a JSON object"):
        open_client(api_keys_file=write(tmp_path / "keys.json", ["alpha"]))
    assert [line["event"] for line in log_lines()] == ["api_keys_file_broken", "api_keys_file_broken"]


def test_a_file_without_keys_lets_nobody_in(open_client: OpenClient, tmp_path: Path) -> None:
    client = open_client(api_keys_file=write(tmp_path / "keys.json", {}))
    assert client.post("/predict", files=FILES).status_code == 401


def ring(**settings: Any) -> KeyRing:  # noqa: ANN401 - any setting
    keys = KeyRing(Settings(**settings))
    keys.load()
    return keys


def test_the_hash_of_nothing_does_not_open_for_those_without_a_key(tmp_path: Path) -> None:
    nothing = {"slip": {"sha256": hashlib.sha256(b"").hexdigest()}}
    keys = ring(api_keys_file=write(tmp_path / "keys.json", nothing))
    for presented in (None, ""):
        with pytest.raises(UnauthorizedError):
            keys.identify(presented)


def test_a_key_in_both_places_has_the_id_and_the_rates_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "keys.json", {"shop": {"sha256": ALPHA, "rates": {"explain": 1}}})
    keys = ring(api_keys="alpha,gamma:delta", api_keys_file=file)
    assert keys.identify("alpha") == ApiKey("shop", bytes.fromhex(ALPHA), {"explain": 1})
    colon = keys.identify("gamma:delta")
    assert colon is not None
    assert colon.id == hashlib.sha256(b"gamma:delta").hexdigest()[:8]


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
    keys = ring(api_keys="alpha")
    assert "alpha" not in repr(vars(keys))
    key = keys.identify("alpha")
    assert key is not None
    assert key.id == "8ed3f6ad"
