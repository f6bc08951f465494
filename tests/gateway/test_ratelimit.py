from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from limits import RateLimitItemPerMinute
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.ratelimit import OwnCounters, client_address, counted_as
from gateway.settings import Settings
from tests.gateway.conftest import Clock, LogLines, OpenClient
from tests.gateway.fakes import BareClient, TorchServe, picture, upload

FILES = {"file": upload(picture("JPEG"))}
BATCH = {"files": upload(picture("JPEG"))}
NOBODY = "redis://127.0.0.1:1"  # a port where nothing listens


def predict(client: TestClient, path: str = "/predict", **headers: str) -> tuple[int, str | None]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post(path, files=FILES, headers=named)
    return answer.status_code, answer.headers.get("ratelimit")


@pytest.mark.parametrize(
    ("path", "files", "policy", "left"),
    [
        ("/predict", FILES, '"predict";q=30;w=60', '"predict";r=29;t=60'),
        ("/predict/batch", BATCH, '"batch";q=5;w=60', '"batch";r=4;t=60'),
        ("/predict/explain", FILES, '"explain";q=10;w=60', '"explain";r=9;t=60'),
    ],
)
@pytest.mark.usefixtures("clock")
def test_each_answer_tells_the_rate_and_what_is_left(
    client: TestClient, path: str, files: dict[str, Any], policy: str, left: str
) -> None:
    answer = client.post(path, files=files)
    assert answer.status_code == 200
    assert answer.headers["ratelimit-policy"] == policy
    assert answer.headers["ratelimit"] == left


def test_past_the_rate_the_answer_is_429_until_the_window_has_moved_on(
    open_client: OpenClient, torchserve: TorchServe, clock: Clock
) -> None:
    client = open_client(predict_rate=2)
    assert predict(client) == (200, '"predict";r=1;t=60')
    clock.now += 20
    assert predict(client) == (200, '"predict";r=0;t=40')
    for _ in range(5):  # refused requests are not counted
        assert predict(client)[0] == 429
    clock.now += 15.5
    answer = client.post("/predict", files=FILES)
    assert answer.status_code == 429
    assert answer.json() == {
        "error": "Rate limit exceeded",
        "detail": "At most 2 requests a minute. Please retry in 25 s.",
    }
    assert answer.headers["retry-after"] == "25"
    assert answer.headers["ratelimit-policy"] == '"predict";q=2;w=60'
    assert answer.headers["ratelimit"] == '"predict";r=0;t=25'
    assert len(torchserve.requests) == 2
    clock.now += 25
    assert predict(client) == (200, '"predict";r=0;t=20')


@pytest.mark.usefixtures("clock")
def test_both_mounts_share_a_quota_and_routes_do_not(open_client: OpenClient) -> None:
    client = open_client(predict_rate=2, explain_rate=1)
    assert predict(client, "/predict") == (200, '"predict";r=1;t=60')
    assert predict(client, "/v1/predict") == (200, '"predict";r=0;t=60')
    assert predict(client, "/v1/predict") == (429, '"predict";r=0;t=60')
    assert predict(client, "/predict/explain") == (200, '"explain";r=0;t=60')


@pytest.mark.usefixtures("clock")
def test_bad_requests_and_failures_count_and_tell_the_rate(client: TestClient, torchserve: TorchServe) -> None:
    async def bug(_: object) -> None:
        raise RuntimeError

    bad = client.post("/predict", content=b"no form")
    assert (bad.status_code, bad.headers["ratelimit"]) == (400, '"predict";r=29;t=60')
    torchserve.down()
    assert predict(client) == (503, '"predict";r=28;t=60')
    torchserve.handler = bug  # type: ignore[assignment]
    assert predict(client) == (500, '"predict";r=27;t=60')


@pytest.mark.anyio
@pytest.mark.usefixtures("clock")
async def test_a_body_that_is_cut_off_counts_and_a_declared_one_does_not(
    torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "max_form_overhead_bytes", 10)
    settings = Settings(max_file_bytes=10)
    cut_off = BareClient(create_app(settings, torchserve.transport()), "/predict", [b"x" * 21])
    await cut_off.run()
    assert (cut_off.status, cut_off.answer_headers["ratelimit"]) == (413, '"predict";r=29;t=60')
    headers = {"content-length": "21"}
    declared = BareClient(create_app(settings, torchserve.transport()), "/predict", [], headers)
    await declared.run()
    assert declared.status == 413
    assert "ratelimit" not in declared.answer_headers


@pytest.mark.usefixtures("clock")
def test_a_refused_key_uses_up_nobodys_quota(open_client: OpenClient) -> None:
    client = open_client(api_keys="alpha", predict_rate=1)
    for _ in range(3):
        assert predict(client, X_API_Key="wrong") == (401, None)
    assert predict(client, X_API_Key="alpha") == (200, '"predict";r=0;t=60')


@pytest.mark.usefixtures("clock")
def test_keys_count_apart_and_may_have_rates_of_their_own(open_client: OpenClient, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    alpha = hashlib.sha256(b"alpha").hexdigest()
    path.write_text(json.dumps({"shop": {"sha256": alpha, "rates": {"predict": 2}}, "ci": {"key": "beta"}}))
    client = open_client(api_keys_file=path, predict_rate=1)
    for key, status, left in (
        ("alpha", 200, 1),
        ("alpha", 200, 0),
        ("alpha", 429, 0),
        ("beta", 200, 0),
        ("beta", 429, 0),
    ):
        assert predict(client, X_API_Key=key) == (status, f'"predict";r={left};t=60')


def test_behind_a_trusted_proxy_each_address_has_its_quota(open_client: OpenClient) -> None:
    client = open_client(predict_rate=1, trusted_proxies=1)
    for forwarded, status in (("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.3, 192.0.2.2", 429)):
        assert predict(client, X_Forwarded_For=forwarded)[0] == status


@pytest.mark.parametrize(
    ("method", "path", "settings"),
    [
        ("POST", "/predict", {"predict_rate": 1, "rate_limit_enabled": False}),
        *((method, path, {}) for method, path in (("GET", "/health"), ("GET", "/predict"), ("OPTIONS", "/predict"))),
    ],
)
def test_without_rates_and_for_what_is_no_prediction_there_are_no_headers(
    open_client: OpenClient, method: str, path: str, settings: dict[str, Any]
) -> None:
    client = open_client(**settings)
    for _ in range(3):
        answer = client.request(method, path, files=FILES if method == "POST" else None)
        assert answer.status_code != 429
        assert not {"ratelimit", "ratelimit-policy"} & set(answer.headers)


@pytest.mark.usefixtures("clock")
def test_without_redis_and_open_each_gateway_counts_for_itself_and_warns_once(
    open_client: OpenClient, log_lines: LogLines
) -> None:
    client = open_client(redis_url=NOBODY, predict_rate=2)
    assert predict(client) == (200, '"predict";r=1;t=60')
    assert predict(client) == (200, '"predict";r=0;t=60')
    assert predict(client) == (429, '"predict";r=0;t=60')
    (line,) = [line for line in log_lines() if line["event"] == "rate_limit_store_down"]
    assert (line["level"], line["cause"]) == ("warning", "ConnectionError")


def test_without_redis_and_closed_the_answer_is_503(
    open_client: OpenClient, torchserve: TorchServe, log_lines: LogLines
) -> None:
    client = open_client(redis_url=NOBODY, redis_failure="closed")
    for _ in range(3):
        answer = client.post("/predict", files=FILES)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert answer.headers["ratelimit-policy"] == '"predict";q=30;w=60'
        assert "ratelimit" not in answer.headers
        assert answer.json() == {
            "error": "Service unavailable",
            "detail": "The service is not available right now. Please retry.",
        }
    assert torchserve.requests == []
    assert client.get("/health").status_code == 200
    assert [line["event"] for line in log_lines()].count("rate_limit_store_down") == 1


def test_a_wall_clock_that_is_set_changes_no_rate(open_client: OpenClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client = open_client(predict_rate=1)
    assert predict(client)[0] == 200
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert predict(client) == (429, '"predict";r=0;t=60')
    monkeypatch.setattr("time.time", lambda: 1e10)
    assert predict(client) == (429, '"predict";r=0;t=60')


def test_clients_that_stay_away_are_forgotten(clock: Clock) -> None:
    counters, rate = OwnCounters(), RateLimitItemPerMinute(2)
    for number in range(1000):
        clock.now += 1
        counters.hit(rate, f"address:192.0.2.{number}")
    assert len(counters) == 60


PEER = "10.0.0.9"


@pytest.mark.parametrize(
    ("forwarded", "trusted_proxies", "address"),
    [
        (["203.0.113.7"], 0, PEER),
        ([], 1, PEER),
        (["203.0.113.7"], 1, "203.0.113.7"),
        (["192.0.2.66, 203.0.113.7"], 1, "203.0.113.7"),
        (["192.0.2.66", "203.0.113.7"], 1, "203.0.113.7"),
        (["192.0.2.66, 203.0.113.7, 10.0.0.8"], 2, "203.0.113.7"),
        (["203.0.113.7"], 2, "203.0.113.7"),
        (["203.0.113.7:41000"], 1, "203.0.113.7"),
        (["[2001:db8::7]:41000"], 1, "2001:db8::7"),
        (["2001:db8::7"], 1, "2001:db8::7"),
        (["203.0.113.7, unknown"], 1, PEER),
        (["203.0.113.7,"], 1, PEER),
    ],
)
def test_only_entries_of_trusted_proxies_are_believed(forwarded: list[str], trusted_proxies: int, address: str) -> None:
    assert client_address(PEER, forwarded, trusted_proxies) == address


@pytest.mark.parametrize(
    ("client", "name"),
    [
        (("203.0.113.7", 1), "address:203.0.113.7"),
        (("::ffff:203.0.113.7", 1), "address:203.0.113.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "address:2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 1), "address:2001:db8:1:2::/64"),
        (("testclient", 1), "address:testclient"),
        (None, "address:unknown"),
    ],
)
def test_addresses_are_counted_one_by_one_and_ipv6_by_its_network(client: tuple[str, int] | None, name: str) -> None:
    assert counted_as(HTTPConnection({"type": "http", "headers": [], "client": client}), None, 0) == name
