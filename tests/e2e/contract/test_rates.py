"""The rates: how many, for whom, and how an answer tells."""

from __future__ import annotations

import pytest

from tests.e2e.contract.claims import MOUNTS, Ask, error, text
from tests.e2e.contract.gateways import KEYS, SETTINGS, Gateways

RATES = [("/predict", "predict", 30), ("/predict/batch", "batch", 5), ("/predict/explain", "explain", 10)]
SECONDS = text("1 to 60", lambda found: 1 <= int(found) <= 60)


def told(gateways: Gateways, ask: Ask, mount: str = "", **headers: str) -> tuple[int, str | None]:
    """The status of one answer, and what it says is left; the body is no form, so the model is left alone."""
    answer = ask.send(gateways, mount, **headers)
    left = answer.headers.get("ratelimit")
    return answer.status_code, left.rpartition(";")[0] if left else None


@pytest.mark.parametrize(("path", "bucket", "rate"), RATES)
def test_the_documented_rate_counts_both_mounts_together_and_tells_what_is_left(
    gateways: Gateways, path: str, bucket: str, rate: int
) -> None:
    ask = Ask("POST", path, "keyed", {"X-API-Key": KEYS[0]})
    answers = [told(gateways, ask, MOUNTS[number % 2]) for number in range(rate)]
    assert answers == [(400, f'"{bucket}";r={left}') for left in range(rate - 1, -1, -1)]
    for mount in MOUNTS:
        answer = ask.send(gateways, mount)
        assert answer.status_code == 429
        seconds = answer.headers["retry-after"]
        assert seconds == SECONDS
        assert answer.json() == error(
            "Rate limit exceeded", f"At most {rate} requests a minute. Please retry in {seconds} s."
        )
        assert answer.headers["ratelimit-policy"] == f'"{bucket}";q={rate};w=60'
        assert answer.headers["ratelimit"] == f'"{bucket}";r=0;t={seconds}'


def test_each_key_has_its_own_quota(gateways: Gateways) -> None:
    used_up = Ask("POST", "/predict/batch", "keyed", {"X-API-Key": KEYS[1]}, times=6)
    assert used_up.send(gateways).status_code == 429
    assert told(gateways, Ask("POST", "/predict/batch", "keyed", {"X-API-Key": KEYS[2]})) == (400, '"batch";r=4')


def test_without_a_key_the_address_counts_and_x_forwarded_for_is_not_believed(gateways: Gateways) -> None:
    ask = Ask("POST", "/predict/batch", "plain")
    answers = [told(gateways, ask, **{"X-Forwarded-For": f"203.0.113.{number}"})[0] for number in range(6)]
    assert answers == [400] * 5 + [429]


def test_x_forwarded_for_is_believed_for_as_many_proxies_as_a_setting_trusts(gateways: Gateways) -> None:
    ask = Ask("POST", "/predict", "proxied")
    hops = ["203.0.113.1", "203.0.113.2", "203.0.113.1", "203.0.113.9, 203.0.113.2"]
    assert [told(gateways, ask, **{"X-Forwarded-For": hop})[0] for hop in hops] == [400, 400, 429, 429]


@pytest.mark.parametrize(("path", "bucket"), [(path, bucket) for path, bucket, _ in RATES])
def test_each_rate_is_a_setting(gateways: Gateways, path: str, bucket: str) -> None:
    assert SETTINGS["proxied"][f"GATEWAY_{bucket.upper()}_RATE"] == "1"
    ask = Ask("POST", path, "proxied", {"X-Forwarded-For": "203.0.113.77"})
    assert [told(gateways, ask) for _ in range(2)] == [(400, f'"{bucket}";r=0'), (429, f'"{bucket}";r=0')]


def test_rates_can_be_turned_off(gateways: Gateways) -> None:
    assert SETTINGS["open"] == {"RATE_LIMIT_ENABLED": "false"}
    assert [told(gateways, Ask("POST", "/predict/batch")) for _ in range(8)] == [(400, None)] * 8


@pytest.mark.parametrize("path", ["/health", "/healthz", "/metrics", "/drift"])
def test_what_is_no_prediction_has_no_rate(gateways: Gateways, path: str) -> None:
    assert "ratelimit-policy" not in gateways.clients["plain"].get(path).headers
