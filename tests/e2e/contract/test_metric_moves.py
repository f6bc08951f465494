"""The metrics move: each by the requests that it counts, and by as much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.e2e.contract.claims import Ask
from tests.e2e.contract.gateways import Gateways
from tests.e2e.contract.scraping import BATCH, EXPLAIN, JPEG, JUDGED, PREDICT, REFUSED, scrape, total

NO_FILE = b'--cut\r\nContent-Disposition: form-data; name="note"\r\n\r\ntext\r\n--cut--\r\n'


@dataclass(frozen=True)
class Move:
    """A request, and by how much it moves the samples of that name and those labels."""

    says: str
    ask: Ask
    name: str
    labels: Mapping[str, str]
    by: float

    def __str__(self) -> str:
        return self.says


def http(method: str, endpoint: str, status: str) -> dict[str, str]:
    return {"method": method, "endpoint": endpoint, "status": status}


MOVES = [
    Move("a prediction counts by status, class and confidence", PREDICT, "aidetect_predictions_total", JUDGED, 1),
    Move("an explanation counts as a prediction", EXPLAIN, "aidetect_predictions_total", JUDGED, 1),
    Move("each image of a batch counts as a prediction", BATCH, "aidetect_predictions_total", JUDGED, 2),
    Move("latency is observed per prediction", BATCH, "aidetect_prediction_latency_seconds_count", {}, 2),
    Move("so is the probability", BATCH, "aidetect_prediction_probability_count", {}, 2),
    Move("probabilities lie within 0 and 1", PREDICT, "aidetect_prediction_probability_bucket", {"le": "1.0"}, 1),
    Move("a batch is one batch request", BATCH, "aidetect_batch_predictions_total", {"status": "success"}, 1),
    Move("its size is its number of images", BATCH, "aidetect_batch_size_sum", {}, 3),
    Move("its time is observed once", BATCH, "aidetect_batch_latency_seconds_count", {}, 1),
    Move(
        "a refused image counts by type",
        REFUSED,
        "aidetect_image_validation_errors_total",
        {"type": "invalid_image_format"},
        1,
    ),
    Move(
        "so does one in a batch",
        BATCH,
        "aidetect_image_validation_errors_total",
        {"type": "invalid_image_format"},
        1,
    ),
    Move(
        "the payload of a request is observed in bytes",
        Ask("POST", "/predict", content=NO_FILE, headers={"Content-Type": "multipart/form-data; boundary=cut"}),
        "aidetect_request_size_bytes_sum",
        {"endpoint": "/predict"},
        len(NO_FILE),
    ),
    Move(
        "the payload of an answer is observed in bytes",
        Ask("GET", "/healthz"),
        "aidetect_response_size_bytes_sum",
        {"endpoint": "/healthz"},
        len(b'{"alive":true}'),
    ),
    Move(
        "latency is observed by endpoint, whatever the mount",
        REFUSED,
        "http_request_duration_seconds_count",
        {"method": "POST", "endpoint": "/predict"},
        1,
    ),
    Move(
        "requests count by method, endpoint and status",
        REFUSED,
        "http_requests_total",
        http("POST", "/predict", "400"),
        1,
    ),
    Move(
        "a client cannot grow the endpoints",
        Ask("GET", "/any/path/it/likes"),
        "http_requests_total",
        http("GET", "unmatched", "404"),
        1,
    ),
    Move("nor the methods", Ask("PURGE", "/healthz"), "http_requests_total", http("other", "/healthz", "405"), 1),
    Move(
        "a rejection for the rate counts by endpoint",
        Ask("POST", "/predict/explain", "proxied", {"X-Forwarded-For": "203.0.113.123"}, times=3),
        "aidetect_rate_limited_total",
        {"endpoint": "/predict/explain"},
        2,
    ),
    Move(
        "a model server out of reach is a backend error",
        Ask("POST", "/predict", "down", files=[("file", JPEG)]),
        "aidetect_backend_errors_total",
        {"cause": "connection"},
        1,
    ),
]


@pytest.mark.parametrize("move", MOVES, ids=str)
def test_a_request_moves_the_metric(move: Move, gateways: Gateways) -> None:
    before = total(scrape(gateways, move.ask.gateway), move.name, move.labels)
    move.ask.send(gateways)
    after = total(scrape(gateways, move.ask.gateway), move.name, move.labels)
    assert after - before == move.by
