from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from gateway.drift.reference import Histogram
from tests.gateway.conftest import OpenClient
from tests.gateway.fakes import TorchServe, picture, upload

SHIPPED = Path(__file__).parents[3] / "model_store" / "reference.json"
EDGES = [number / 10 for number in range(11)]
FILES = {"file": upload(picture("JPEG"))}


def test_the_histogram_has_the_references_bins_and_the_windows_shares(
    open_client: OpenClient, torchserve: TorchServe
) -> None:
    reference = json.loads(SHIPPED.read_text())
    scores = iter([0.05, 0.1, 0.95, 1.0])

    async def predict(_: httpx.Request) -> httpx.Response:
        verdict = {"prediction": "real", "probability": next(scores), "confidence": "high"}
        return httpx.Response(200, json=verdict | {"model_version": reference["model_version"]})

    torchserve.handler = predict
    client = open_client(drift_reference_file=SHIPPED)
    plain = client.get("/drift").json()
    assert "histogram" not in plain
    assert client.get("/drift?include=histogram").json() == plain | {
        "histogram": {"edges": EDGES, "reference": reference["scores"]["histogram"]["share"], "current": None}
    }
    for _ in range(4):
        client.post("/predict", files=FILES)
    current = client.get("/v1/drift?include=histogram").json()["histogram"]["current"]
    assert current == [0.25, 0.25, *[0.0] * 7, 0.5]


def test_without_a_reference_the_windows_scores_are_in_ten_bins(open_client: OpenClient) -> None:
    client = open_client(drift_reference_file=Path("absent.json"))
    client.post("/predict", files=FILES)
    expected: dict[str, Any] = {"edges": EDGES, "reference": None, "current": [*[0.0] * 8, 1.0, 0.0]}
    assert client.get("/drift?include=histogram").json()["histogram"] == expected


def test_another_extra_is_refused_as_the_document_says(open_client: OpenClient) -> None:
    client = open_client()
    refused = client.get("/drift?include=evidence")
    assert (refused.status_code, refused.json()["detail"]) == (400, "Values of `include`: histogram.")
    content = client.get("/openapi.json").json()["paths"]["/drift"]["get"]["responses"]["400"]["content"]
    assert content["application/json"]["examples"]["invalid_parameter"]["value"] == refused.json()


@pytest.mark.parametrize(("edges", "share"), [([0, 1], [0.5, 0.5]), ([0, 0.5, 0.5, 1], [0.2, 0.3, 0.5]), ([0], [])])
def test_a_histogram_that_does_not_fit_its_bins_is_refused(edges: list[float], share: list[float]) -> None:
    with pytest.raises(ValidationError):
        Histogram.model_validate({"edges": edges, "share": share})
