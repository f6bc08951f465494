"""The routes: one list, at `/` and at `/v1`, with `HEAD`, `OPTIONS`, 404 and 405."""

from __future__ import annotations

import re
import tomllib
from typing import Any
from urllib.parse import urljoin

import pytest

from stack.layout import ROOT
from tests.e2e.contract.claims import ANYTHING, NOTHING, Ask, Claim, error, number, text, whole
from tests.e2e.contract.gateways import Gateways
from tests.e2e.contract.shipped import MODEL, VERSION

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
READS = (
    "/",
    "/health",
    "/healthz",
    "/readyz",
    "/startup",
    "/metrics",
    "/drift",
    "/privacy",
    "/openapi.json",
    "/docs",
)
POSTS = ("/predict", "/predict/batch", "/predict/explain")
HTML = {"content-type": "text/html; charset=utf-8"}
JSON = {"content-type": "application/json"}
RETRY = {"retry-after": "7"}


def health(status: str, *, loaded: bool, version: str) -> dict[str, object]:
    return {
        "status": status,
        "model_loaded": loaded,
        "model_version": version,
        "uptime_seconds": number(1),
        "active_requests": 0,
        "drift_detected": False,
        "predictions_total": whole(),
    }


HEALTHY = health("healthy", loaded=True, version=VERSION)
UNHEALTHY = health("unhealthy", loaded=False, version="unknown")
INDEX = {"name": PROJECT["name"], "version": PROJECT["version"], "links": ANYTHING}
PAGE = text("a page", lambda found: found.startswith("<!DOCTYPE html>"))
SAMPLES = text("Prometheus's text", lambda found: "# TYPE http_requests_total counter\n" in found)
NOT_FOUND = error("Not Found", "There is nothing at this path.")
WRONG_METHOD = error("Method Not Allowed", "This path does not support this method.")

PROBES = [
    Claim("health has the documented body while an inference can be served", Ask("GET", "/health"), 200, HEALTHY),
    Claim("it tells what a verdict means", Ask("GET", "/health?include=model"), 200, {**HEALTHY, "model": MODEL}),
    Claim("without one, health is 503 with that body", Ask("GET", "/health", "down"), 503, UNHEALTHY, RETRY),
    Claim("healthz is alive", Ask("GET", "/healthz"), 200, {"alive": True}),
    Claim("healthz never looks at the model", Ask("GET", "/healthz", "down"), 200, {"alive": True}),
    Claim("readyz is 200 after a real inference", Ask("GET", "/readyz"), 200, {"ready": True}),
    Claim("readyz is 503 without the model server", Ask("GET", "/readyz", "down"), 503, {"ready": False}, RETRY),
    Claim("an open port is not ready", Ask("GET", "/readyz", "waiting"), 503, {"ready": False}),
    Claim("a model server without the model is not ready", Ask("GET", "/readyz", "unloaded"), 503, {"ready": False}),
    Claim("startup is 200 once the model has come up", Ask("GET", "/startup"), 200, {"started": True}),
    Claim("startup is 503 before that", Ask("GET", "/startup", "down"), 503, {"started": False}, RETRY),
]
OTHERS = [
    Claim("the index has name, version and links", Ask("GET", "/"), 200, INDEX, JSON),
    Claim(
        "metrics are in Prometheus's text format",
        Ask("GET", "/metrics"),
        200,
        SAMPLES,
        {"content-type": "text/plain; version=0.0.4; charset=utf-8"},
    ),
    Claim("drift is JSON", Ask("GET", "/drift"), 200, headers=JSON),
    Claim("privacy is JSON", Ask("GET", "/privacy"), 200, headers=JSON),
    Claim(
        "privacy is a page for who prefers one",
        Ask("GET", "/privacy", headers={"Accept": "text/html,*/*;q=0.8"}),
        200,
        PAGE,
        HTML,
    ),
    Claim("the API is described as JSON", Ask("GET", "/openapi.json"), 200, headers=JSON),
    Claim("docs is Swagger UI", Ask("GET", "/docs"), 200, PAGE, HTML),
]
METHODS = [
    *(Claim(f"HEAD {path} is GET without the body", Ask("HEAD", path), 200, NOTHING) for path in READS),
    *(
        Claim(f"OPTIONS {path} tells the methods", Ask("OPTIONS", path), 204, NOTHING, {"allow": "GET, HEAD, OPTIONS"})
        for path in READS
    ),
    *(
        Claim(f"OPTIONS {path} tells the method", Ask("OPTIONS", path), 204, NOTHING, {"allow": "OPTIONS, POST"})
        for path in POSTS
    ),
    *(
        Claim(f"POST {path} is 405", Ask("POST", path), 405, WRONG_METHOD, {"allow": "GET, HEAD, OPTIONS"})
        for path in READS
    ),
    *(
        Claim(f"{method} {path} is 405", Ask(method, path), 405, WRONG_METHOD, {"allow": "OPTIONS, POST"})
        for path in POSTS
        for method in ("GET", "PUT", "DELETE")
    ),
    *(
        Claim(f"{method} {path} is 404", Ask(method, path), 404, NOT_FOUND)
        for path in ("/nowhere", "/predict/", "/v2/predict", "/predict/batch/1")
        for method in ("GET", "POST", "OPTIONS")
    ),
]


@pytest.mark.parametrize("claim", [*PROBES, *OTHERS, *METHODS], ids=str)
def test_routes(claim: Claim, gateways: Gateways, mount: str) -> None:
    claim.check(gateways, mount)


@pytest.fixture
def document(gateways: Gateways) -> dict[str, Any]:
    return dict(gateways.clients["open"].get("/openapi.json").json())


def test_the_description_is_openapi_3_1_and_has_every_documented_route(document: dict[str, Any]) -> None:
    described = {(method.upper(), path) for path, entry in document["paths"].items() for method in entry}
    expected = {("GET", path) for path in READS if path not in {"/openapi.json", "/docs"}}
    assert document["openapi"].startswith("3.1.")
    assert described >= expected | {("POST", path) for path in POSTS}


def test_the_description_has_an_example_for_every_status(document: dict[str, Any]) -> None:
    operations = [each for entry in document["paths"].values() for each in entry.values()]
    answers = [(each["operationId"], *answer) for each in operations for answer in each["responses"].items()]
    lacking = [
        (operation, status, kind)
        for operation, status, answer in answers
        for kind, content in answer["content"].items()
        if not content.get("example") and not content.get("examples")
    ]
    assert lacking == []
    named = {each["operationId"]: set(each["responses"]) for each in operations}
    assert named["predict"] >= {"200", "400", "401", "413", "429", "500", "503"}
    assert named["health"] >= {"200", "503"}


def test_swagger_ui_is_all_from_here(gateways: Gateways, mount: str) -> None:
    client = gateways.clients["open"]
    page = client.get(f"{mount}/docs")
    files = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    wanted = [urljoin(f"{mount}/docs", file) for file in files if not file.startswith("data:")]
    assert len(wanted) == 4
    assert [client.get(file).status_code for file in wanted] == [200] * 4
    assert re.findall(r"(?:https?:)?//[^\s\"]+", page.text) == []


def test_what_the_index_links_to_is_there(gateways: Gateways) -> None:
    client = gateways.clients["open"]
    links = client.get("/").json()["links"].values()
    assert set(links) >= {*READS[1:], *POSTS}
    assert {client.options(link).status_code for link in links} == {204}
