"""Each call: what goes to the gateway, and what is made of its documented answer."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from gateway.client import (
    Explanation,
    KeyRefusedError,
    NotReadyError,
    OddAnswerError,
    PhotoUnreadableError,
    Verdict,
)
from tests.gateway.client import wire as examples
from tests.gateway.client.wire import Gateway, batch, client, error_of, photos_in, refusal, short, verdict

Call = Callable[..., Any]
JPEG = b"\xff\xd8\xff\xe0 a heat map"
VERDICT = Verdict(
    prediction="ai_generated", probability=0.87, confidence="high", inference_time_ms=45.2, model_version="1.0.0"
)


class Recorder:
    """Answers everything alike, and keeps what it was sent."""

    def __init__(self, body: object, status: int = 200) -> None:
        self.body = body.model_dump(exclude_unset=True) if isinstance(body, BaseModel) else body
        self.status = status
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, json=self.body)

    @property
    def target(self) -> str:
        (request,) = self.requests
        return f"{request.method} {request.url.raw_path.decode()}"


def test_a_prediction_is_read_and_the_photo_goes_as_it_is(call: Call) -> None:
    gateway = Recorder(examples.PREDICTION)
    assert call(gateway, "predict", b"\x00\r\n photo") == VERDICT
    assert gateway.target == "POST /predict"
    assert photos_in(gateway.requests[0]) == [b"\x00\r\n photo"]


def test_an_explanation_has_its_heat_map_as_a_jpeg(call: Call) -> None:
    body = examples.EXPLANATION.model_dump() | {"heatmap_base64": base64.b64encode(JPEG).decode()}
    found = call(gateway := Recorder(body), "explain", b"photo")
    assert (gateway.target, type(found), found.heatmap) == ("POST /predict/explain", Explanation, JPEG)
    assert base64.b64encode(JPEG).decode() not in repr(found)


@pytest.mark.parametrize("route", ["predict", "explain"])
def test_evidence_comes_when_it_is_asked_for(call: Call, route: str) -> None:
    bodies = {"predict": examples.PREDICTION_WITH_EVIDENCE, "explain": examples.EXPLANATION_WITH_EVIDENCE}
    found = call(gateway := Recorder(bodies[route]), route, b"photo", evidence=True)
    assert gateway.target.endswith("?include=evidence")
    assert [(one.type, one.value, one.strength) for one in found.evidence] == [("generator_software", "DALL-E", "weak")]


def test_a_comparison_has_both_verdicts(call: Call) -> None:
    found = call(gateway := Recorder(examples.COMPARISON), "compare", b"photo")
    assert gateway.target == "POST /predict/compare"
    assert (found.primary, found.shadow.model_version, found.difference) == (examples.PREDICTION, "1.0.1", 0.05)


def test_a_batch_has_an_outcome_a_photo(call: Call) -> None:
    found = call(gateway := Recorder(batch([b"87", b"12", b"broken"])), "predict_batch", [b"one", b"two", b"three"])
    assert gateway.target == "POST /predict/batch"
    assert photos_in(gateway.requests[0]) == [b"one", b"two", b"three"]
    assert (found.total, found.successful, found.failed, found.total_inference_time_ms) == (3, 2, 1, 89.5)
    first, second, third = found.results
    assert (first.probability, first.inference_time_ms, first.model_version) == (0.87, None, "1.0.0")
    assert second.prediction == "real"
    assert (error_of(third).code, error_of(third).status) == ("invalid_image_format", 400)
    assert error_of(third).detail == "Supported formats: JPEG, PNG, WebP. Got: unknown"


def test_an_answer_for_another_number_of_photos_is_none(call: Call) -> None:
    with pytest.raises(OddAnswerError):
        call(Recorder(batch([b"87", b"12"])), "predict_batch", [b"one"])


@pytest.mark.parametrize(
    ("body", "status", "loaded"), [(examples.HEALTHY, 200, True), (examples.UNHEALTHY, 503, False)]
)
def test_health_is_read_while_the_model_is_away_too(call: Call, body: BaseModel, status: int, loaded: bool) -> None:
    found = call(gateway := Recorder(body, status), "health")
    assert (gateway.target, found.model_loaded) == ("GET /health", loaded)


def test_the_models_base_rate_is_asked_for(call: Call) -> None:
    found = call(gateway := Recorder(examples.HEALTHY_WITH_MODEL), "health", model=True)
    assert gateway.target == "GET /health?include=model"
    assert found.model == examples.MODEL_INFO


def test_a_refusal_in_healths_place_is_an_error(call: Call) -> None:
    with pytest.raises(NotReadyError):
        call(lambda _: refusal(503, "service_unavailable"), "health")


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_readiness_is_a_yes_or_no(call: Call, status: int, ready: bool) -> None:
    assert call(gateway := Recorder({"ready": ready}, status), "ready") is ready
    assert gateway.target == "GET /readyz"


def test_alive_about_and_drift_are_read(call: Call) -> None:
    assert call(Recorder({"alive": True}), "alive") is True
    about = call(gateway := Recorder({"name": "x", "version": "0.1.0", "links": {"predict": "/predict"}}), "about")
    assert (gateway.target, about.version, about.links["predict"]) == ("GET /", "0.1.0", "/predict")
    drift = call(gateway := Recorder(examples.DRIFT), "drift")
    assert (gateway.target, drift.histogram, drift.checks[0].name) == (
        "GET /drift",
        None,
        examples.DRIFT.checks[0].name,
    )
    drift = call(gateway := Recorder(examples.DRIFT_WITH_HISTOGRAM), "drift", histogram=True)
    assert gateway.target == "GET /drift?include=histogram"
    assert drift.histogram == examples.DRIFT_WITH_HISTOGRAM.histogram


def test_fields_that_are_not_known_are_passed_over(call: Call) -> None:
    assert call(Recorder({**examples.PREDICTION.model_dump(), "later": 1}), "predict", b"photo") == VERDICT


@pytest.mark.parametrize(
    "change",
    [
        {"prediction": "fake"},
        {"probability": 1.2},
        {"probability": float("nan")},
        {"probability": "0.87"},
        {"inference_time_ms": -1},
        {"model_version": ""},
    ],
)
def test_an_answer_that_is_not_as_documented_is_an_error(change: dict[str, Any]) -> None:
    text = json.dumps(verdict(b"87", **change))
    with client(lambda _: httpx.Response(200, text=text)) as asked, pytest.raises(OddAnswerError):
        asked.predict(b"photo")


@pytest.mark.parametrize("heatmap", ["", "not base64!", "PHN2Zz4=", "é", None])
def test_a_heat_map_that_is_no_jpeg_is_an_error(heatmap: str | None) -> None:
    with client(Recorder(verdict(b"87", heatmap_base64=heatmap))) as asked, pytest.raises(OddAnswerError):
        asked.explain(b"photo")


@pytest.mark.parametrize("text", ["", "[]", "null", "<html>", "{}", "[" * 100_000])
def test_a_body_that_is_no_answer_is_an_error(call: Call, text: str) -> None:
    with pytest.raises(OddAnswerError):
        call(lambda _: httpx.Response(200, text=text), "predict", b"photo")


def test_a_photo_is_bytes_or_a_path_or_an_open_file(tmp_path: Path, call: Call) -> None:
    path = tmp_path / "a secret name.jpg"
    path.write_bytes(b"photo")
    for photo in (b"photo", bytearray(b"photo"), memoryview(b"photo"), path, str(path), io.BytesIO(b"photo")):
        call(gateway := Recorder(examples.PREDICTION), "predict", photo)
        assert photos_in(gateway.requests[0]) == [b"photo"]
        assert b"secret name" not in gateway.requests[0].content


@pytest.mark.parametrize(
    ("photo", "said"),
    [
        (Image.new("RGB", (20, 20)), "not Image; pixels that are encoded again are a different file"),
        (np.zeros((20, 20, 3), np.uint8), "not ndarray;"),
        (None, "not NoneType;"),
        (["photo.jpg"], "not list;"),
        (io.StringIO("text"), "this one gives str"),
        (io.TextIOWrapper(io.BytesIO(b"\xff\xd8\xff"), "utf-8"), "opened for bytes"),
    ],
)
def test_what_is_no_photo_is_a_mistake_of_the_program(call: Call, photo: object, said: str) -> None:
    with pytest.raises(TypeError, match=re.escape('a file opened for bytes: open(path, "rb")')) as caught:
        call(gateway := Recorder(None), "predict", photo)
    assert said in str(caught.value)
    assert gateway.requests == []


def test_a_file_in_no_state_to_be_read_is_told_and_spoils_no_other(tmp_path: Path, call: Call, check: Call) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"12")
    closed = path.open("rb")
    closed.close()
    photos = {
        "closed file": closed,
        "Is a directory": tmp_path,
        "embedded null byte": "photo\0.jpg",
        "No such file or directory": "a secret name.jpg",
    }
    for said, photo in photos.items():
        with pytest.raises(PhotoUnreadableError) as caught:
            call(gateway := Recorder(None), "predict", photo)
        assert said in caught.value.detail
        assert "secret" not in str(caught.value)
        assert gateway.requests == []
    assert short(check(Gateway(), [*photos.values(), path])) == ["unreadable"] * 4 + [0.12]


def test_key_caller_and_headers_go_along_and_the_address_may_have_a_path() -> None:
    gateway = Recorder(examples.PREDICTION)
    options = {"api_key": " schlüssel ", "user_agent": "page", "headers": {"X-Request-ID": "mine"}}
    with client(gateway, url="http://gateway:8080/v1/", **options) as asked:
        asked.predict(b"photo")
        asked.acting_for(api_key="other", caller="10.0.0.7").predict(b"photo")
        asked.acting_for().predict(b"photo")
    own, other, nobody = gateway.requests
    assert str(own.url) == "http://gateway:8080/v1/predict"
    assert dict(own.headers.raw)[b"X-API-Key"] == "schlüssel".encode()
    assert (own.headers["User-Agent"], own.headers["X-Request-ID"]) == ("page", "mine")
    assert (other.headers["X-API-Key"], other.headers["X-Forwarded-For"]) == ("other", "10.0.0.7")
    assert not {"x-api-key", "x-forwarded-for"} & set(nobody.headers)


def test_a_key_that_cannot_be_a_header_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(KeyRefusedError) as caught:
        client(Recorder(None), api_key="two\nlines")
    assert "two" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "gateway", "gateway:8080", "ftp://gateway", "http://", "http://[::1", "http://a:b"]
)
def test_what_is_no_address_is_told_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"write it like http://127\.0\.0\.1:8080$"):
        client(Recorder(None), url=url)
