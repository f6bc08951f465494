"""The fields of the three predictions, by the real model."""

from __future__ import annotations

import base64
import io
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler import decision
from tests.e2e.contract.claims import Ask, Claim, error, number, text
from tests.e2e.contract.gateways import Gateways
from tests.e2e.contract.pictures import as_kind, photo, sideways
from tests.e2e.contract.shipped import MILLISECONDS, PREDICTION, VERDICT, VERSION, confidence, explanation

PHOTO = photo()
PHOTOS = ("coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg", "camera.png", "motorcycle_left.png")
HEATMAP = text("base64 of a JPEG", lambda found: base64.b64decode(found, validate=True).startswith(b"\xff\xd8\xff"))
ITEM = {**VERDICT, "error": None}
BATCH = {
    "results": [{"filename": "photo1.jpg", **ITEM}, {"filename": "photo2.png", **ITEM}],
    "total": 2,
    "successful": 2,
    "failed": 0,
    "total_inference_time_ms": MILLISECONDS,
    "model_version": VERSION,
}
TWO = [("files", ("photo1.jpg", as_kind("JPEG"))), ("files", ("photo2.png", PHOTO))]
NO_EXTRA = error("Invalid parameter", "Values of `include`: none on this route.")
ONE_EXTRA = error("Invalid parameter", "Values of `include`: evidence.")


def asking(path: str) -> Ask:
    return Ask("POST", path, files=[("file", ("product_photo.jpg", PHOTO))])


CLAIMS = [
    Claim("predict has exactly the documented fields, typed, in order", asking("/predict"), 200, PREDICTION),
    Claim("explain has the heat map before the times", asking("/predict/explain"), 200, explanation(HEATMAP)),
    Claim("a batch has a result for each file, and the totals", Ask("POST", "/predict/batch", files=TWO), 200, BATCH),
    Claim(
        "more than that comes on request alone",
        asking("/predict?include=evidence"),
        200,
        {**PREDICTION, "evidence": []},
    ),
    Claim(
        "an explanation may have more too",
        asking("/predict/explain?include=evidence"),
        200,
        {**explanation(HEATMAP), "evidence": []},
    ),
    Claim("an extra that is unknown is refused", asking("/predict?include=weights"), 400, ONE_EXTRA),
    Claim("a batch has no extras", Ask("POST", "/predict/batch?include=evidence", files=TWO), 400, NO_EXTRA),
]


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_answers(claim: Claim, gateways: Gateways, mount: str) -> None:
    claim.check(gateways, mount)


@pytest.fixture(scope="module")
def batch(gateways: Gateways) -> dict[str, Any]:
    """Six photographs judged by the model, and how long the client waited for it."""
    started = time.perf_counter()
    files = [("files", (name, photo(name))) for name in PHOTOS]
    body = dict(gateways.clients["open"].post("/predict/batch", files=files).json())
    return {**body, "waited_ms": (time.perf_counter() - started) * 1000}


def test_label_and_confidence_follow_from_the_probability(batch: dict[str, Any]) -> None:
    expected = [
        (
            name,
            "ai_generated" if result["probability"] >= 0.5 else "real",
            confidence(result["probability"]),
        )
        for name, result in zip(PHOTOS, batch["results"], strict=True)
    ]
    assert [(each["filename"], each["prediction"], each["confidence"]) for each in batch["results"]] == expected


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(0.87, "high"), (0.12, "high"), (0.8, "medium"), (0.3, "medium"), (0.7, "medium"), (0.2, "medium"), (0.5, "low")],
)
def test_the_place_that_decides_has_the_same_rule(probability: float, expected: str) -> None:
    assert decision.confidence(probability) == confidence(probability) == expected


def test_the_three_endpoints_say_the_same_of_a_photo(gateways: Gateways, batch: dict[str, Any]) -> None:
    client = gateways.clients["open"]
    single = client.post("/predict", files={"file": PHOTO}).json()
    explained = client.post("/predict/explain", files={"file": PHOTO}).json()
    verdict = {name: batch["results"][0][name] for name in ("prediction", "confidence")}
    for answer in (single, explained):
        assert {name: answer[name] for name in verdict} == verdict
        assert answer["probability"] == pytest.approx(batch["results"][0]["probability"], abs=1.01e-4)


def test_times_are_wall_times_and_a_batchs_is_not_the_sum(gateways: Gateways, batch: dict[str, Any]) -> None:
    started = time.perf_counter()
    single = gateways.clients["open"].post("/predict", files={"file": PHOTO}).json()
    assert single["inference_time_ms"] == number(1, 0.1, (time.perf_counter() - started) * 1000)
    assert batch["total_inference_time_ms"] == number(1, 0.1, batch["waited_ms"])


@pytest.mark.parametrize(
    ("size", "shown"),
    [((600, 400), (512, 341)), ((300, 1200), (128, 512)), ((120, 80), (120, 80))],
    ids=["wide", "tall", "small"],
)
def test_the_heat_map_is_upright_and_in_the_photos_shape_with_512_pixels_at_most(
    gateways: Gateways, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    answer = gateways.clients["open"].post("/predict/explain", files={"file": sideways(size)}).json()
    with Image.open(io.BytesIO(base64.b64decode(answer["heatmap_base64"], validate=True))) as heatmap:
        assert (heatmap.format, heatmap.size) == ("JPEG", shown)
        grey, (width, height) = np.asarray(heatmap.convert("L")), shown
    assert grey.shape == (height, width)
    above, below = grey[: height // 2].mean(), grey[-(height // 2) :].mean()
    assert above > below
