from __future__ import annotations

import asyncio
import json
import re
import tomllib
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from gateway import read_version
from gateway.drift.reference import Histogram
from gateway.schemas import PrivacyBody
from gateway.settings import Settings
from tests.checks import none
from tests.gateway.conftest import OpenClient
from tests.gateway.fakes import VERDICT, BareClient, TorchServe, multipart, picture, upload

FILES = {"file": upload(picture("JPEG"))}


@pytest.mark.parametrize("path", ["/health", "/v1/health"])
def test_healthy_is_the_documented_body(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    uptime = answer.json()["uptime_seconds"]
    assert 0 <= uptime < 60
    assert answer.text == (
        '{"status":"healthy","model_loaded":true,"model_version":"1.0.0",'
        f'"uptime_seconds":{uptime},"active_requests":0,"drift_detected":false,"predictions_total":0}}'
    )


def test_unhealthy_has_the_same_fields(client: TestClient, torchserve: TorchServe) -> None:
    torchserve.down()
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json() | {"uptime_seconds": 0.0} == {
        "status": "unhealthy",
        "model_loaded": False,
        "model_version": "unknown",
        "uptime_seconds": 0.0,
        "active_requests": 0,
        "drift_detected": False,
        "predictions_total": 0,
    }


def test_what_predictions_mean_is_told_when_asked_for(client: TestClient, torchserve: TorchServe) -> None:
    rates = {"base_rate": 0.1876, "true_positive_rate": 0.342, "false_positive_rate": None}
    model = rates | {"operating_point": "false_alarms_5"}
    torchserve.always(200, VERDICT | {"model": model})
    answer = client.get("/health?include=model")
    assert (answer.status_code, answer.json()["model"]) == (200, model)
    assert "model" not in client.get("/health").json()
    assert client.post("/predict", files=FILES).json().keys() == VERDICT.keys() | {"inference_time_ms"}


def test_predictions_are_counted_and_probes_are_not(client: TestClient) -> None:
    client.post("/predict", files=FILES)
    client.post("/predict/explain", files=FILES)
    client.post("/predict/batch", files=[("files", FILES["file"])] * 3 + [("files", upload(picture("GIF")))])
    client.post("/predict", files={"file": upload(b"no image")})
    client.get("/readyz")
    assert client.get("/health").json()["predictions_total"] == 5


@pytest.mark.anyio
async def test_requests_being_served_are_active(open_client: OpenClient, torchserve: TorchServe) -> None:
    client = open_client()
    counts: list[int] = []
    bare = BareClient(client.app, "/predict", [multipart("file", picture("JPEG"))])  # type: ignore[arg-type]

    async def predict(_: httpx.Request) -> httpx.Response:
        counts.append(bare.services.metrics.active_requests)
        return httpx.Response(200, json=VERDICT)

    torchserve.handler = predict
    await bare.run()
    counts.append(bare.services.metrics.active_requests)
    assert counts == [1, 0]


def test_alive_whatever_the_model_does(client: TestClient, torchserve: TorchServe) -> None:
    torchserve.down()
    answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, '{"alive":true}')
    assert torchserve.requests == []


def test_ready_means_a_real_inference(client: TestClient, torchserve: TorchServe) -> None:
    assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (200, {"ready": True})
    probe = torchserve.requests[0]
    assert probe.url.path == "/predictions/product-photo-detector"
    assert probe.headers["x-request-id"] == "readiness"
    with Image.open(BytesIO(probe.content)) as image:
        assert (image.format, image.size) == ("JPEG", (32, 32))


@pytest.mark.parametrize("status", [401, 404, 422, 500, 503])
def test_not_ready_without_one(client: TestClient, torchserve: TorchServe, status: int) -> None:
    torchserve.always(status)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False})
    assert answer.headers["retry-after"] == "5"


def test_started_once_is_started_for_good(client: TestClient, torchserve: TorchServe) -> None:
    torchserve.always(503)
    answer = client.get("/startup")
    assert (answer.status_code, answer.json()) == (503, {"started": False})
    torchserve.handler = torchserve.predict
    answer = client.get("/startup")
    assert (answer.status_code, answer.json()) == (200, {"started": True})
    torchserve.always(503)
    assert client.get("/startup").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_probes_are_not_sent_more_often_than_the_cache_time(
    open_client: OpenClient, torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "readiness_cache_s", 60.0)
    client = open_client()
    torchserve.always(503)
    assert [client.get(path).status_code for path in ("/health", "/readyz", "/startup")] == [503, 503, 503]
    assert len(torchserve.requests) == 1
    torchserve.handler = torchserve.predict
    client.post("/predict", files=FILES)  # a client's request is as good as a probe
    assert client.get("/readyz").status_code == 200
    assert len(torchserve.requests) == 2


def test_a_probe_has_its_own_deadline(
    open_client: OpenClient, torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "readiness_timeout_s", 0.05)

    async def endless(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    torchserve.handler = endless
    assert open_client().get("/health").status_code == 503


SHIPPED = Path(__file__).parents[3] / "model_store" / "reference.json"
EDGES = [number / 10 for number in range(11)]


def test_the_histogram_has_the_references_bins_and_the_windows_shares(
    open_client: OpenClient, torchserve: TorchServe
) -> None:
    reference = json.loads(SHIPPED.read_text())
    scores = iter([0.05, 0.1, 0.95, 1.0])

    async def predict(_: httpx.Request) -> httpx.Response:
        verdict = {"prediction": "real", "probability": next(scores), "confidence": "high"}
        return httpx.Response(200, json=verdict | {"model_version": reference["model_version"]})

    torchserve.handler = predict
    client = open_client()
    plain = client.get("/drift").json()
    assert "histogram" not in plain
    assert client.get("/drift?include=histogram").json() == plain | {
        "histogram": {"edges": EDGES, "reference": reference["scores"]["histogram"]["share"], "current": None}
    }
    for _ in range(4):
        client.post("/predict", files=FILES)
    current = client.get("/v1/drift?include=histogram").json()["histogram"]["current"]
    assert current == [0.25, 0.25, *[0.0] * 7, 0.5]


def test_without_a_reference_the_windows_scores_are_in_ten_bins(
    open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "drift_reference_file", Path("absent.json"))
    client = open_client()
    client.post("/predict", files=FILES)
    expected: dict[str, Any] = {"edges": EDGES, "reference": None, "current": [*[0.0] * 8, 1.0, 0.0]}
    assert client.get("/drift?include=histogram").json()["histogram"] == expected


@pytest.mark.parametrize(("edges", "share"), [([0, 1], [0.5, 0.5]), ([0, 0.5, 0.5, 1], [0.2, 0.3, 0.5]), ([0], [])])
def test_a_histogram_that_does_not_fit_its_bins_is_refused(edges: list[float], share: list[float]) -> None:
    with pytest.raises(ValidationError):
        Histogram.model_validate({"edges": edges, "share": share})


PYPROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/"])
def test_the_index_names_version_and_routes(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.json() == {
        "name": PYPROJECT["project"]["name"],
        "version": PYPROJECT["project"]["version"],
        "links": {
            "predict": "/predict",
            "predict_batch": "/predict/batch",
            "explain": "/predict/explain",
            "compare": "/predict/compare",
            "health": "/health",
            "healthz": "/healthz",
            "readyz": "/readyz",
            "startup": "/startup",
            "metrics": "/metrics",
            "drift": "/drift",
            "privacy": "/privacy",
            "openapi": "/openapi.json",
            "docs": "/docs",
        },
    }


@pytest.mark.parametrize("path", ["/docs", "/v1/docs"])
def test_swagger_ui_comes_from_files_that_are_installed_here(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    # No script or style of its own: the page's policy allows none.
    assert not re.search(r"<style|<script(?! src=)|\bon[a-z]+=", answer.text)
    loaded = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]+)"', answer.text)
    assert loaded == ["data:,", "docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/docs.js"]
    prefix = path.removesuffix("docs")
    assert [client.get(prefix + address).status_code for address in loaded[1:]] == [200, 200, 200]


@pytest.mark.parametrize("path", ["/docs/", "/docs/nowhere", "/docs/..%2f..%2fapp.py", "/docs/%00", "/docs/docs.js/x"])
def test_there_is_nothing_else(client: TestClient, path: str) -> None:
    answer = client.get(path, follow_redirects=False)
    assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")


def test_head_and_options_work_on_every_route(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, Starlette)
    paths = [*(route.path for route in app.routes if isinstance(route, Route)), "/docs/docs.js"]
    for path in [*paths, *(f"/v1{path}" for path in paths if path != "/v1")]:
        reads = "predict" not in path
        options = client.options(path)
        assert (options.status_code, options.content) == (204, b"")
        assert options.headers["allow"] == ("GET, HEAD, OPTIONS" if reads else "OPTIONS, POST")
        head = client.head(path)
        assert (head.status_code, head.content) == (200 if reads else 405, b"")


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
JSON, HTML = "application/json", "text/html; charset=utf-8"
PREFERENCES = {
    "": JSON,
    "*/*": JSON,
    "application/json": JSON,
    "text/html;q=0.5, application/json": JSON,
    "text/html, application/json": JSON,
    "text/html;q=0, */*;q=0.1": JSON,
    "image/png": JSON,
    "text/html;q=2": JSON,
    "text/html;q=nan": JSON,
    ",;q=": JSON,
    "\xe9;q=1": JSON,
    BROWSER: HTML,
    "Text/HTML": HTML,
    "text/*": HTML,
    "*/*, application/json;q=0.1": HTML,
    "text/html;level=1;q=0.9, application/*;q=0.8": HTML,
}


def test_a_page_comes_to_those_who_prefer_one(client: TestClient) -> None:
    found = {
        accept: client.get("/v1/privacy", headers=[(b"Accept", accept.encode("latin-1"))]).headers["content-type"]
        for accept in PREFERENCES
    }
    assert found == PREFERENCES


def test_privacy_names_what_is_not_logged(client: TestClient) -> None:
    answer = client.get("/privacy")
    assert (answer.status_code, answer.headers["vary"]) == (200, "Accept")
    body = PrivacyBody.model_validate(answer.json())
    assert (body.service, body.version, body.contact) == ("ai-product-photo-detector", read_version(), None)
    assert {"File names.", "API keys."} <= set(body.not_logged)


def test_a_browser_gets_a_page_with_the_same_statement(client: TestClient) -> None:
    body = PrivacyBody.model_validate(client.get("/privacy").json())
    answer = client.get("/privacy", headers={"Accept": BROWSER})
    assert (answer.status_code, answer.headers["vary"]) == (200, "Accept")
    entries = [*body.processed, *body.logged, *body.not_logged, *body.recipients, body.summary]
    none((entry for entry in entries if entry.replace("'", "&#x27;") not in answer.text), of=entries)
    assert "Contact" not in answer.text


def test_the_contact_is_a_setting_and_no_markup(open_client: OpenClient) -> None:
    client = open_client(privacy_contact="Ann <privacy@example.com>")
    assert client.get("/privacy").json()["contact"] == "Ann <privacy@example.com>"
    page = client.get("/privacy", headers={"Accept": BROWSER}).text
    assert "<li>Ann &lt;privacy@example.com&gt;</li>" in page


def test_a_shadow_version_keeps_a_sample_a_little_longer(open_client: OpenClient) -> None:
    def kept(**changes: str) -> dict[str, str]:
        return {entry["data"]: entry["kept"] for entry in open_client(**changes).get("/privacy").json()["retention"]}

    sample = "At most 20 s after the answer, in memory, for a second version of the model."
    assert kept(shadow_version="2.0")["A sample of the images"] == sample
    assert "A sample of the images" not in kept()
