"""One claim for each route, with the model that ships."""

from __future__ import annotations

import base64
import io
import json
import time
import tomllib

import numpy as np
import pytest
from PIL import Image

from deploy.layout import ROOT
from handler import spec
from tests.checks import none
from tests.e2e.contract.claims import ANYTHING, JSON, Claim, Like, in_order, number, text
from tests.e2e.contract.gateways import KEYS, SETTINGS, Gateways
from tests.e2e.contract.pictures import MIB, as_kind, padded, photo, sideways
from tests.e2e.contract.shipped import MILLISECONDS, MODEL, PREDICTION, VERDICT, VERSION, confidence

PHOTO, JPEG = photo(), as_kind("JPEG")
PHOTOS = ("coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg")
HEATMAP = text("base64 of a JPEG", lambda found: base64.b64decode(found, validate=True).startswith(b"\xff\xd8\xff"))
EXPLANATION = {**VERDICT, "heatmap_base64": HEATMAP, "inference_time_ms": MILLISECONDS, "model_version": VERSION}
REJECTED = {"prediction": None, "probability": None, "confidence": None}
BATCH = {
    "results": [
        {"filename": "photo1.jpg", **VERDICT, "error": None},
        {
            "filename": "notes.txt",
            **REJECTED,
            "error": "Invalid image format: Supported formats: JPEG, PNG, WebP. Got: unknown",
        },
    ],
    "total": 2,
    "successful": 1,
    "failed": 1,
    "total_inference_time_ms": MILLISECONDS,
    "model_version": VERSION,
}
HEALTHY = {
    "status": "healthy",
    "model_loaded": True,
    "model_version": VERSION,
    "uptime_seconds": number(1),
    "active_requests": 0,
    "drift_detected": ANYTHING,
    "predictions_total": Like("a count", lambda found: type(found) is int),
}
UNHEALTHY = HEALTHY | {"status": "unhealthy", "model_loaded": False, "model_version": "unknown"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INDEX = {"name": PROJECT["name"], "version": PROJECT["version"], "links": ANYTHING}
ONE, TWO = [("file", ("a.jpg", PHOTO))], [("files", ("photo1.jpg", JPEG)), ("files", ("notes.txt", b"no picture"))]
SAMPLES = text("Prometheus's text", lambda found: "# TYPE http_requests_total counter\n" in found)
PAGE = text("a page", lambda found: found.startswith("<!DOCTYPE html>"))
RETRY = {"retry-after": "5"}

CLAIMS = [
    Claim("predict has exactly these fields, in order", "POST", "/predict", 200, PREDICTION, files=ONE),
    Claim("explain has the heat map before the times", "POST", "/predict/explain", 200, EXPLANATION, files=ONE),
    Claim("in a batch a broken file fails alone", "POST", "/predict/batch", 200, BATCH, files=TWO),
    Claim(
        "evidence comes on request",
        *("POST", "/predict?include=evidence", 200),
        PREDICTION | {"evidence": []},
        files=ONE,
    ),
    Claim("health while an inference can be served", "GET", "/health", 200, HEALTHY),
    Claim("what a verdict means", "GET", "/health?include=model", 200, HEALTHY | {"model": MODEL}),
    Claim("health without one", "GET", "/health", 503, UNHEALTHY, RETRY, "down"),
    Claim("healthz never looks at the model", "GET", "/healthz", 200, {"alive": True}, gateway="down"),
    Claim("readyz after a real inference", "GET", "/readyz", 200, {"ready": True}),
    Claim("readyz without the model server", "GET", "/readyz", 503, {"ready": False}, RETRY, "down"),
    Claim("an open port is not ready", "GET", "/readyz", 503, {"ready": False}, gateway="waiting"),
    Claim("startup once the model has come up", "GET", "/startup", 200, {"started": True}),
    Claim("the index", "GET", "/", 200, INDEX, {"content-type": JSON}),
    Claim("metrics", "GET", "/metrics", 200, SAMPLES),
    Claim("drift", "GET", "/drift", 200, headers={"content-type": JSON}),
    Claim("privacy", "GET", "/privacy", 200, headers={"content-type": JSON}),
    Claim("the description", "GET", "/openapi.json", 200, headers={"content-type": JSON}),
    Claim("the page of the API", "GET", "/docs", 200, PAGE),
    Claim("HEAD is GET without the body", "HEAD", "/health", 200, ""),
    Claim("a file of 5 MB", "POST", "/predict", 200, PREDICTION, files=[("file", padded(5 * MIB))]),
    Claim("50 megapixels", "POST", "/predict", 200, PREDICTION, files=[("file", as_kind("PNG", (10_000, 5000), "L"))]),
    Claim("50 MB in all", "POST", "/predict/batch", 200, files=[("files", padded(5 * MIB))] * 10),
    Claim("a key opens", "POST", "/predict", 200, PREDICTION, {}, "keyed", {"X-API-Key": KEYS[1]}, files=ONE),
]


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_a_route_answers_as_documented(claim: Claim, gateways: Gateways) -> None:
    claim.check(gateways)


def test_both_mounts_answer_alike(gateways: Gateways) -> None:
    for claim in CLAIMS[:12]:
        here, there = (claim.send(gateways, mount) for mount in ("", "/v1"))
        assert (there.status_code, there.headers["content-type"]) == (here.status_code, here.headers["content-type"])
        assert list(there.json()) == list(here.json())


def test_label_confidence_and_times_follow_in_all_three_answers(gateways: Gateways) -> None:
    client, started = gateways.clients["open"], time.perf_counter()
    batch = client.post("/predict/batch", files=[("files", (name, photo(name))) for name in PHOTOS]).json()
    waited_ms = (time.perf_counter() - started) * 1000
    assert batch["total_inference_time_ms"] == number(1, 0.1, waited_ms)  # of all, and not their sum
    for name, result in zip(PHOTOS, batch["results"], strict=True):
        label = "ai_generated" if result["probability"] >= 0.5 else "real"
        words = (result["filename"], result["prediction"], result["confidence"])
        assert words == (name, label, confidence(result["probability"]))
    for path in ("/predict", "/predict/explain"):
        answer = client.post(path, files={"file": PHOTO}).json()
        assert answer["probability"] == pytest.approx(batch["results"][0]["probability"], abs=1.01e-4)
    for probability in (0.87, 0.12, 0.8, 0.3, 0.7, 0.2, 0.5):
        assert spec.confidence(probability) == confidence(probability)


@pytest.mark.parametrize(
    ("size", "shown"), [((600, 400), (512, 341)), ((300, 1200), (128, 512)), ((120, 80), (120, 80))], ids=str
)
def test_the_heat_map_is_upright_and_in_the_photos_shape_with_512_pixels_at_most(
    gateways: Gateways, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    answer = gateways.clients["open"].post("/predict/explain", files={"file": sideways(size)}).json()
    with Image.open(io.BytesIO(base64.b64decode(answer["heatmap_base64"], validate=True))) as heatmap:
        assert (heatmap.format, heatmap.size) == ("JPEG", shown)
        grey, half = np.asarray(heatmap.convert("L")), shown[1] // 2
    assert grey[:half].mean() > grey[-half:].mean()


def test_metrics_health_and_drift_count_every_image_that_was_judged(gateways: Gateways) -> None:
    client = gateways.clients["open"]

    def counts() -> tuple[int, float]:
        lines = client.get("/metrics").text.splitlines()
        successes = [line for line in lines if line.startswith("aidetect_predictions_total{") and '"success"' in line]
        return client.get("/health").json()["predictions_total"], sum(float(line.split()[-1]) for line in successes)

    before = counts()
    client.post("/predict/batch", files=[("files", JPEG), ("files", JPEG), ("files", b"no picture")])
    client.post("/v1/predict/explain", files={"file": JPEG})
    assert counts() == (before[0] + 3, before[1] + 3)
    metrics = client.get("/metrics").text
    assert 'http_requests_total{endpoint="/predict/explain",method="POST",status="200"}' in metrics
    assert f'aidetect_model_info{{version="{VERSION}"}} 1.0' in metrics


def test_pictures_unlike_the_first_ones_are_drift(gateways: Gateways) -> None:
    client = gateways.clients["open"]
    shipped = json.loads((ROOT / "model_store/reference.json").read_text())
    assert client.get("/drift").json()["reference"]["model_version"] == VERSION
    for size in [(60, 90)] * 24 + [(400, 300)] * 12:  # its reference are the first twelve, which others sent
        client.post("/predict", files={"file": as_kind("JPEG", size)}).raise_for_status()
    body = client.get("/drift").json()
    assert (body["status"], body["window_size"], body["reference_source"]) == ("monitoring", 12, "own traffic")
    assert (body["drift_detected"], body["drift_score"] > 1) == (True, True)
    assert set(body["current"]["inputs"]) == set(shipped["inputs"])
    assert body["current"]["inputs"]["width"]["mean"] == 400
    none(
        (check for check in body["checks"] if check["alert"] != (check["score"] > check["threshold"])),
        of=body["checks"],
    )
    assert client.get("/health").json()["drift_detected"] is True


def test_the_log_line_has_the_verdict_and_nothing_private(gateways: Gateways) -> None:
    client, secret = gateways.clients["keyed"], {"X-API-Key": KEYS[1], "X-Request-ID": "a line"}
    client.post("/predict", headers=secret, files={"file": ("a-private-name.jpg", JPEG)}).raise_for_status()
    line = gateways.line("keyed", "a line")
    fields = {**VERDICT, "status": 200, "method": "POST", "path": "/predict", "model_version": VERSION}
    assert in_order({name: line.get(name) for name in fields}) == in_order(fields)
    for name in gateways.clients:
        lines = gateways.log(name).splitlines()
        assert all({"event", "level", "timestamp"} <= set(json.loads(line)) for line in lines)
        none((line for line in lines if any(each in line for each in (*KEYS, "a-private-name"))), of=lines)


def test_the_index_links_to_what_is_there(gateways: Gateways) -> None:
    client = gateways.clients["open"]
    links = client.get("/").json()["links"].values()
    assert {client.options(link).status_code for link in links} == {204}


RAISED = {
    "GATEWAY_MAX_FILE_BYTES": padded(2 * 5 * MIB),
    "GATEWAY_MIN_SIDE_PIXELS": as_kind("PNG", (5, 30)),
    "GATEWAY_MAX_SIDE_PIXELS": as_kind("PNG", (20_000, 30)),
    "GATEWAY_MAX_PIXELS": as_kind("PNG", (10_000, 10_000), "L"),
}


@pytest.mark.parametrize(("name", "image"), list(RAISED.items()), ids=list(RAISED))
def test_a_limit_raised_to_twice_holds_through_to_the_model(name: str, image: bytes, gateways: Gateways) -> None:
    assert name in SETTINGS["raised"]
    Claim("raised", "POST", "/predict", 200, PREDICTION, gateway="raised", files=[("file", image)]).check(gateways)


def test_a_batch_of_twice_the_files_and_bytes_is_predicted(gateways: Gateways) -> None:
    files = [("files", ("a.jpg", padded(5 * MIB)))] * 20
    answer = gateways.clients["raised"].post("/predict/batch", files=files)
    assert (answer.status_code, answer.json()["successful"]) == (200, 20)
