from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from gateway.schemas import PrivacyBody
from gateway.services import read_version
from tests.checks import none
from tests.gateway.conftest import OpenClient

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("path", ["/privacy", "/v1/privacy"])
@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html;q=0.5, application/json"])
def test_privacy_is_json_by_default(client: TestClient, path: str, accept: str) -> None:
    answer = client.get(path, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"] == "Accept"
    body = PrivacyBody.model_validate(answer.json())
    assert (body.service, body.version, body.contact) == ("ai-product-photo-detector", read_version(), None)
    assert "File names." in body.not_logged
    assert "API keys." in body.not_logged


def test_a_browser_gets_a_page_with_the_same_statement(client: TestClient) -> None:
    body = PrivacyBody.model_validate(client.get("/privacy").json())
    answer = client.get("/privacy", headers={"Accept": BROWSER})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["vary"] == "Accept"
    entries = [*body.processed, *body.logged, *body.not_logged, *body.recipients, body.summary]
    none((entry for entry in entries if entry.replace("'", "&#x27;") not in answer.text), of=entries)
    assert "Contact" not in answer.text


def test_the_contact_is_a_setting_and_no_markup(open_client: OpenClient) -> None:
    client = open_client(privacy_contact="Ann <privacy@example.com>")
    assert client.get("/privacy").json()["contact"] == "Ann <privacy@example.com>"
    page = client.get("/privacy", headers={"Accept": BROWSER}).text
    assert "<p>Ann &lt;privacy@example.com&gt;</p>" in page


def test_a_shadow_version_keeps_a_sample_a_little_longer(open_client: OpenClient) -> None:
    def kept(**changes: str) -> dict[str, str]:
        return {entry["data"]: entry["kept"] for entry in open_client(**changes).get("/privacy").json()["retention"]}

    sample = "At most 20 s after the answer, in memory, for a second version of the model."
    assert kept(shadow_version="2.0")["A sample of the images"] == sample
    assert "A sample of the images" not in kept()
