from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import SecretStr
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.errors import ApiError
from gateway.openapi import build_operations
from gateway.settings import Settings
from tests.gateway.conftest import OpenClient
from tests.gateway.fakes import TorchServe, picture, upload
from tests.gateway.test_errors import subclasses

Document = dict[str, Any]
JSON, PROBLEM = "application/json", "application/problem+json"
JPEG = upload(picture("JPEG"))
SMALL = {"max_file_bytes": 2000, "max_batch_files": 2}
LARGE = upload(picture("JPEG") + bytes(2000))


@pytest.fixture
def document(client: TestClient) -> Document:
    document: Document = client.get("/openapi.json").json()
    return document


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def contents(document: Document) -> Iterator[tuple[str, Document]]:
    """Every body of every answer, with a name for the failure's text."""
    responses = {
        f"{path} {status}": response
        for _, path, operation in operations(document)
        for status, response in operation["responses"].items()
    }
    for name, response in (responses | document["components"]["responses"]).items():
        for kind, content in response["content"].items():
            yield f"{name} {kind}", content


def error_examples(document: Document, path: str, kind: str) -> dict[str, Any]:
    responses = document["paths"][path]["post"]["responses"]
    return {
        code: example["value"]
        for status, response in responses.items()
        if status != "200"
        for code, example in response["content"][kind]["examples"].items()
    }


def test_the_document_is_valid_openapi_3_1(document: Document) -> None:
    assert document["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_route_is_described_and_nothing_else(client: TestClient, document: Document) -> None:
    app = client.app
    assert isinstance(app, Starlette)
    routes = [route for route in app.routes if isinstance(route, Route) and route.path != "/v1"]
    served = {route.path: {name.lower() for name in (route.methods or set()) - {"HEAD"}} for route in routes}
    for undescribed in ("/openapi.json", "/docs"):
        assert served.pop(undescribed) == {"get"}
    assert {path: set(item) for path, item in document["paths"].items()} == served
    assert set(build_operations(Settings())) == set(served)


def test_both_mounts_are_servers_and_serve_the_same_document(client: TestClient, document: Document) -> None:
    assert [server["url"] for server in document["servers"]] == ["/", "/v1"]
    assert client.get("/v1/openapi.json").json() == document
    with TestClient(client.app, root_path="/detector") as below:
        servers = below.get("/openapi.json").json()["servers"]
    assert [server["url"] for server in servers] == ["/detector/", "/detector/v1"]


def test_every_body_has_an_example_that_fits_its_schema(document: Document) -> None:
    for name, content in contents(document):
        validator = OAS31Validator(content["schema"] | {"components": document["components"]})
        examples = [each["value"] for each in content.get("examples", {}).values()] or [content["example"]]
        assert [error.message for example in examples for error in validator.iter_errors(example)] == [], name


def test_every_status_is_named(document: Document) -> None:
    found = {path: set(operation["responses"]) for _, path, operation in operations(document)}
    prediction = {"200", "400", "401", "408", "413", "429", "500", "503"}
    assert found == {
        "/predict": prediction,
        "/predict/batch": prediction,
        "/predict/explain": prediction,
        "/predict/compare": {*prediction, "404"},
        "/health": {"200", "400", "500", "503"},
        **{key: {"200", "500", "503"} for key in ("/readyz", "/startup")},
        "/drift": {"200", "400", "500"},
        **{key: {"200", "500"} for key in ("/", "/healthz", "/metrics", "/privacy")},
    }


def test_every_error_of_the_gateway_is_in_it(document: Document) -> None:
    codes = {code for path in ("/predict/compare", "/predict/batch") for code in error_examples(document, path, JSON)}
    public = {kind.code for kind in subclasses(ApiError) if not kind.__name__.startswith("_")}
    assert codes == public
    assert set(document["components"]["responses"]) == {"NotFound", "MethodNotAllowed"}


def test_a_key_is_needed_where_the_settings_say_so(open_client: OpenClient) -> None:
    def security(**changes: Any) -> list[Any]:  # noqa: ANN401 - any setting
        document = open_client(**changes).get("/openapi.json").json()
        assert document["components"]["securitySchemes"] == {
            "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        }
        protected = [path for _, path, operation in operations(document) if "security" in operation]
        assert protected == ["/predict", "/predict/batch", "/predict/explain", "/predict/compare"]
        return [operation["security"] for _, _, operation in operations(document) if "security" in operation]

    assert security() == [[{}, {"ApiKey": []}]] * 4
    assert security(api_keys="alpha") == [[{"ApiKey": []}]] * 4
    assert security(require_auth=True) == [[{"ApiKey": []}]] * 4


def test_limits_are_those_of_the_settings(open_client: OpenClient) -> None:
    document = open_client(max_batch_files=3, max_file_bytes=2 * 1024 * 1024).get("/openapi.json").json()
    batch = document["paths"]["/predict/batch"]["post"]
    files = batch["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["files"]
    assert (files["minItems"], files["maxItems"]) == (1, 3)
    assert batch["description"].startswith("1 to 3 files. Maximum batch size: 6 MB. Each file: JPEG, PNG or WebP.")
    assert error_examples(document, "/predict", JSON)["file_too_large"]["detail"] == "Maximum file size: 2 MB"


@pytest.mark.parametrize(
    ("code", "path", "sent"),
    [
        ("invalid_parameter", "/predict", {"params": {"include": "more"}}),
        ("invalid_parameter", "/predict/batch", {"params": {"include": "evidence"}}),
        ("invalid_form", "/predict", {}),
        ("missing_file", "/predict", {"files": {"picture": JPEG}}),
        ("too_many_files", "/predict", {"files": [("file", JPEG)] * 2}),
        ("invalid_image_format", "/predict", {"files": {"file": upload(picture("GIF"))}}),
        ("invalid_image_dimensions", "/predict", {"files": {"file": upload(picture("JPEG", (8, 600)))}}),
        ("file_too_large", "/predict/explain", {"files": {"file": LARGE}}),
        ("service_unavailable", "/predict/explain", {"files": {"file": JPEG}}),
        ("no_shadow_version", "/predict/compare", {"files": {"file": JPEG}}),
        ("invalid_parameter", "/predict/compare", {"params": {"include": "evidence"}}),
        ("missing_file", "/predict/batch", {"files": {"file": JPEG}}),
        ("too_many_files", "/predict/batch", {"files": [("files", JPEG)] * 11}),
        ("request_too_large", "/predict/batch", {"files": [("files", LARGE)] * 2}),
    ],
)
def test_the_examples_are_what_is_really_answered(
    open_client: OpenClient, torchserve: TorchServe, code: str, path: str, sent: dict[str, Any]
) -> None:
    torchserve.always(503)
    client = open_client(**SMALL)
    document = client.get("/openapi.json").json()
    for kind in (JSON, PROBLEM):
        answer = client.post(path, headers={"Accept": kind}, **sent)
        assert (answer.headers["content-type"], answer.json()) == (kind, error_examples(document, path, kind)[code])


def test_the_document_names_no_secret(open_client: OpenClient) -> None:
    document = open_client(api_keys="alpha-secret", torchserve_url="http://10.0.0.9:1234").get("/openapi.json").text
    assert "alpha-secret" not in document
    assert "10.0.0.9" not in document


KEY = "fuzz"

schemathesis.openapi.format("binary", st.sampled_from([picture(kind) for kind in ("JPEG", "PNG", "WEBP")]))


CHOSEN = Settings(api_keys=SecretStr(KEY), rate_limit_enabled=False, drift_file=Path())
schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(CHOSEN, TorchServe().transport()))


@pytest.mark.slow
@schema.parametrize()
@hypothesis.settings(
    max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
def test_the_gateway_does_what_its_description_says(case: schemathesis.Case[Any]) -> None:
    """Schemathesis holds the running gateway against its own description."""
    # No schema can say that bytes are an image, so some that fit the schema are rightly refused.
    case.call_and_validate(headers={"X-API-Key": KEY}, excluded_checks=[positive_data_acceptance])
