"""The log: JSON lines with the request's id, its trace and its verdict, and nothing private."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.e2e.contract.claims import Ask, in_order, number, text, whole
from tests.e2e.contract.gateways import KEYS, Gateways
from tests.e2e.contract.pictures import as_kind
from tests.e2e.contract.shipped import MILLISECONDS, VERDICT, VERSION

JPEG = as_kind("JPEG")
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ONE = [("file", ("a-private-name.jpg", JPEG))]
SOME = [("files", ("a-private-name.jpg", JPEG)), ("files", ("a-private-name.gif", as_kind("GIF")))]
JUDGED = {**VERDICT, "inference_time_ms": MILLISECONDS, "model_version": VERSION, "status": 200, "method": "POST"}
CLOUD = "logging.googleapis.com"

LINES: list[tuple[str, Ask, dict[str, object]]] = [
    ("a prediction's result, probability and latency", Ask("POST", "/predict", files=ONE), JUDGED),
    ("an explanation's too", Ask("POST", "/v1/predict/explain", files=ONE), {**JUDGED, "path": "/v1/predict/explain"}),
    (
        "a batch's counts",
        Ask("POST", "/predict/batch", files=SOME),
        {"total": 2, "failed": 1, "total_inference_time_ms": MILLISECONDS, "model_version": VERSION},
    ),
    ("an error's code", Ask("POST", "/predict", content=b""), {"status": 400, "error": "invalid_form"}),
    (
        "the key's short id",
        Ask("POST", "/predict", "keyed", {"X-API-Key": KEYS[4]}),
        {"key_id": hashlib.sha256(KEYS[4].encode()).hexdigest()[:8]},
    ),
    (
        "the trace that the request belongs to",
        Ask("GET", "/healthz", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"}),
        {"trace_id": TRACE, "span_id": SPAN},
    ),
    (
        "the trace as Google's Cloud Trace looks for it",
        Ask("GET", "/healthz", "small", {"traceparent": f"00-{TRACE}-{SPAN}-01"}),
        {
            f"{CLOUD}/trace": f"projects/a-project/traces/{TRACE}",
            f"{CLOUD}/spanId": SPAN,
            f"{CLOUD}/trace_sampled": True,
        },
    ),
]


@pytest.mark.parametrize(("says", "ask", "fields"), LINES, ids=[f"the line has {says}" for says, *_ in LINES])
def test_the_log_line(gateways: Gateways, says: str, ask: Ask, fields: dict[str, object]) -> None:
    request_id = f"a line with {says}"
    assert ask.send(gateways, **{"X-Request-ID": request_id}).headers["x-request-id"] == request_id
    line = gateways.line(ask.gateway, request_id)
    assert {name: line.get(name) for name in fields} == fields


def test_a_plain_request_has_these_fields_and_no_more(gateways: Gateways) -> None:
    Ask("GET", "/v1/healthz?secret=1").send(gateways, **{"X-Request-ID": "a plain one"})
    line = gateways.line("open", "a plain one")
    assert in_order(dict(sorted(line.items()))) == in_order(
        {
            "duration_ms": number(1),
            "event": "request",
            "level": "info",
            "method": "GET",
            "path": "/v1/healthz",
            "request_id": "a plain one",
            "status": 200,
            "timestamp": text("UTC", lambda found: found.endswith("Z")),
        }
    )


def test_the_id_of_the_answer_is_that_of_the_line_when_the_client_gave_none(gateways: Gateways) -> None:
    answer = gateways.clients["open"].get("/healthz", headers={"X-Request-ID": ""})
    assert gateways.line("open", answer.headers["x-request-id"])["status"] == 200


def test_the_model_server_gets_the_same_id(gateways: Gateways) -> None:
    while not gateways.mute.got.empty():
        gateways.mute.got.get()
    Ask("POST", "/predict", "waiting", files=ONE).send(gateways, **{"X-Request-ID": "order 66"})
    assert b"\r\nx-request-id: order 66\r\n" in gateways.mute.got.get(timeout=5).lower()


def test_every_line_is_json_and_none_has_a_key_or_a_file_name(gateways: Gateways) -> None:
    for name in gateways.clients:
        lines: list[dict[str, Any]] = [json.loads(line) for line in gateways.log(name).splitlines()]
        assert {"event", "level", "timestamp"} <= set.intersection(*(set(line) for line in lines))
        assert [line for line in lines if any(key in str(line) for key in (*KEYS, "a-private-name"))] == []
        assert len(lines) == whole(1)
