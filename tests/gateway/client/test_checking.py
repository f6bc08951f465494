"""Many photos: the gateway's batches, its rates and its absences, and no photo lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.client import GatewayError, NotReadyError, TooManyRequestsError, Verdict, calls
from tests.gateway.client.wire import Gateway, batch, client, error_of, item, refusal, short, verdict

Check = Callable[..., Any]
PHOTOS = [str(number).encode() for number in range(10, 33)]
PROBABILITIES = [number / 100 for number in range(10, 33)]


def sizes(gateway: Gateway) -> list[int]:
    return [len(photos) for _, photos in gateway.asked]


def busy(seconds: int | None = 5) -> httpx.Response:
    return refusal(503, "service_unavailable", **({} if seconds is None else {"Retry-After": str(seconds)}))


def limited(seconds: int) -> httpx.Response:
    return refusal(429, "rate_limited", **{"Retry-After": str(seconds)})


def test_photos_go_in_batches_and_come_back_in_order(check: Check, waits: list[float]) -> None:
    gateway = Gateway()
    assert short(check(gateway, PHOTOS)) == PROBABILITIES
    assert (sizes(gateway), waits) == ([10, 10, 3], [])
    assert {path for path, _ in gateway.asked} == {"/predict/batch"}


def test_results_come_as_soon_as_their_batch_is_predicted() -> None:
    given: list[bytes] = []

    def photos() -> Iterator[bytes]:
        for photo in PHOTOS:
            given.append(photo)
            yield photo

    with client(Gateway()) as asked:
        results = asked.check(photos(), batch_size=2)
        assert given == []
        next(results)
        assert len(given) == 3


def test_no_photo_is_no_request(check: Check) -> None:
    assert check(gateway := Gateway(), []) == []
    assert gateway.asked == []


def test_a_broken_photo_and_a_missing_file_lose_no_other(check: Check, tmp_path: Path) -> None:
    gateway = Gateway()
    photos = [b"10", b"broken", tmp_path / "missing.jpg", b"13"]
    assert short(check(gateway, photos)) == [0.10, "invalid_image_format", "unreadable", 0.13]
    assert gateway.asked == [("/predict/batch", [b"10", b"broken", b"13"])]


def test_a_rate_is_waited_for_as_long_as_the_gateway_says(check: Check, waits: list[float]) -> None:
    told: list[tuple[float, type[GatewayError]]] = []
    gateway = Gateway([limited(25), busy(None), busy(None)])
    outcomes = check(gateway, PHOTOS[:2], on_wait=lambda seconds, error: told.append((seconds, type(error))))
    assert short(outcomes) == [0.10, 0.11]
    assert waits == [25, 1, 2]
    assert told == [(25, TooManyRequestsError), (1, NotReadyError), (2, NotReadyError)]


def test_a_gateway_that_is_restarted_meanwhile_loses_no_photo(check: Check, waits: list[float]) -> None:
    gateway = Gateway([httpx.ReadError, httpx.ConnectError, httpx.ConnectError, busy(5)])
    assert short(check(gateway, PHOTOS)) == PROBABILITIES
    assert (sizes(gateway), waits) == ([10] * 6 + [3], [0.5, 1, 2, 5])


def test_photos_that_met_a_busy_model_within_a_batch_are_sent_again_alone(check: Check, waits: list[float]) -> None:
    mixed = batch([b"10", b"11", b"12"])
    mixed["results"][1] = item(b"broken") | {"error": "Service unavailable: The queue is full. Please retry."}
    gateway = Gateway([httpx.Response(200, json=mixed)])
    assert short(check(gateway, PHOTOS[:3])) == [0.10, 0.11, 0.12]
    assert gateway.asked[1:] == [("/predict/batch", [b"11"])]
    assert waits == [0.5]


def test_when_patience_ends_the_batch_has_failed_and_the_next_ones_get_one_attempt_each(
    check: Check, waits: list[float]
) -> None:
    gateway = Gateway([busy(4)] * 4)
    assert short(check(gateway, PHOTOS, patience_s=10)) == ["service_unavailable"] * 20 + PROBABILITIES[20:]
    assert (sizes(gateway), waits) == ([10, 10, 10, 10, 3], [4, 4])


def test_a_gateway_that_has_come_back_is_waited_for_again(check: Check, waits: list[float]) -> None:
    gateway = Gateway([busy(9), httpx.Response(200, json=batch(PHOTOS[2:4])), busy(2)])
    found = check(gateway, PHOTOS[:6], batch_size=2, patience_s=3)
    assert short(found) == ["service_unavailable"] * 2 + PROBABILITIES[2:6]
    assert waits == [2]


def test_a_gateway_that_hangs_costs_its_timeouts_of_the_patience(check: Check, waits: list[float]) -> None:
    gateway = Gateway([httpx.ReadTimeout] * 9)
    assert short(check(gateway, PHOTOS[:1])) == ["timeout"]
    assert (len(gateway.asked), waits) == (2, [0.5])  # 60 s each of 120 s


def test_a_wait_longer_than_patience_is_not_begun(check: Check, waits: list[float]) -> None:
    assert short(check(Gateway([limited(500)]), PHOTOS[:1])) == ["rate_limited"]
    assert waits == []


def test_a_refused_key_is_tried_once(check: Check) -> None:
    gateway = Gateway([refusal(401, "unauthorized")])
    assert short(check(gateway, PHOTOS)) == ["unauthorized"] * 23
    assert sizes(gateway) == [10]


def test_a_gateway_that_takes_smaller_batches_gets_them(check: Check) -> None:
    gateway = Gateway(most=3)
    assert short(check(gateway, PHOTOS)) == PROBABILITIES
    assert sizes(gateway) == [10, 5, 2, 3, 5, 2, 3, *[2] * 6, 1]


def test_a_batch_that_is_too_large_is_halved_and_its_large_photo_fails_alone(check: Check) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        too_large = b"large" in request.content
        return refusal(413, "request_too_large") if too_large else gateway(request)

    gateway = Gateway()
    assert short(check(handler, [b"10", b"large", b"12", b"13"])) == [0.10, "request_too_large", 0.12, 0.13]
    assert sizes(gateway) == [1, 2]


def test_a_batch_never_has_more_bytes_than_the_gateway_takes(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "BATCH_BYTES", 5)
    gateway = Gateway()
    check(gateway, [b"10", b"11", b"12", b"123456", b"14"])
    assert sizes(gateway) == [2, 1, 1, 1]


def test_another_batch_size_is_heeded_and_one_is_a_prediction_each(check: Check) -> None:
    assert short(check(gateway := Gateway(), PHOTOS[:3], batch_size=2)) == PROBABILITIES[:3]
    assert sizes(gateway) == [2, 1]
    outcomes = check(gateway := Gateway(), PHOTOS[:2], batch_size=1)
    assert [path for path, _ in gateway.asked] == ["/predict", "/predict"]
    assert [outcome.inference_time_ms for outcome in outcomes] == [45.2, 45.2]
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        check(Gateway(), PHOTOS, batch_size=0)


def test_explanations_and_evidence_come_photo_by_photo(check: Check) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        return httpx.Response(200, json=verdict(b"87", heatmap_base64="/9j/4AAQ", evidence=[]))

    (first, second) = check(handler, PHOTOS[:2], explain=True)
    assert (first.heatmap[:2], second.heatmap[:2]) == (b"\xff\xd8", b"\xff\xd8")
    (third,) = check(handler, PHOTOS[:1], evidence=True)
    assert third.evidence == ()
    assert asked == ["/predict/explain"] * 2 + ["/predict?include=evidence"]


def test_an_odd_answer_fails_its_batch_alone(check: Check) -> None:
    gateway = Gateway([httpx.Response(200, json={})])
    outcomes = check(gateway, PHOTOS[:12])
    assert [isinstance(outcome, Verdict) for outcome in outcomes] == [False] * 10 + [True] * 2
    assert str(error_of(outcomes[0])).startswith("Unexpected response from the gateway: results is missing.")
