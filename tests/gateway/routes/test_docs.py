from __future__ import annotations

from html.parser import HTMLParser

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient


class Links(HTMLParser):
    """The addresses that a page loads, and whether it has scripts or styles of its own."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get("src") or (given.get("href") if tag == "link" else None)
        self.loaded += [address] if address else []
        self.inline += (tag == "script" and "src" not in given) or tag == "style" or any(n[:2] == "on" for n in given)


@pytest.mark.parametrize("path", ["/docs", "/v1/docs"])
def test_swagger_ui_comes_from_files_that_are_installed_here(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    links = Links(answer.text)
    assert links.inline == 0
    assert links.loaded == ["data:,", "docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/docs.js"]
    prefix = path.removesuffix("docs")
    assert [client.get(prefix + link).status_code for link in links.loaded[1:]] == [200, 200, 200]


def test_the_start_script_reads_the_document_beside_the_page(client: TestClient) -> None:
    script = client.get("/docs/docs.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert 'new URL("openapi.json", document.baseURI)' in script.text
    assert "http" not in script.text


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
