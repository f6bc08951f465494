from __future__ import annotations

from starlette.testclient import TestClient

from gateway.schemas import PrivacyBody
from gateway.services import read_version
from tests.checks import none
from tests.gateway.conftest import OpenClient

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
