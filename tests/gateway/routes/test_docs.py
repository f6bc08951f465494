from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from gateway import schemas
from gateway.documentation.openapi import HEADERS
from gateway.web.security import EXPOSED_HEADERS, JSON_HEADERS

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


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


def test_the_files_are_asked_for_again_by_their_etag(client: TestClient) -> None:
    first = client.get("/docs/swagger-ui.css")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/docs/swagger-ui.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("ranges", ["bytes=0-9", "bytes=x", "bytes=999999999-", "lines=1-2"])
def test_a_range_gets_the_whole_file(client: TestClient, ranges: str) -> None:
    answer = client.get("/docs/docs.js", headers={"Range": ranges})
    assert (answer.status_code, answer.text) == (200, client.get("/docs/docs.js").text)


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


def test_api_md_has_every_route(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, Starlette)
    routes = [route for route in app.routes if isinstance(route, Route) and route.path != "/v1"]
    served = {f"{method} {route.path}" for route in routes for method in (route.methods or set()) - {"HEAD"}}
    assert set(re.findall(r"^\| `((?:GET|POST) [^`]+)` \|", PAGE, re.MULTILINE)) == served
    headings = "\n".join(line for line in PAGE.splitlines() if line.startswith("### "))
    assert [route for route in served if f"`{route}`" not in headings] == []


def test_api_md_has_every_header() -> None:
    names = {*HEADERS, *EXPOSED_HEADERS, *JSON_HEADERS, "X-API-Key"}
    assert [name for name in names if f"`{name}" not in PAGE] == []


def test_api_md_has_every_field() -> None:
    models = [each for each in vars(schemas).values() if isinstance(each, type) and issubclass(each, BaseModel)]
    fields = {name for model in models for name in model.model_fields}
    assert [name for name in sorted(fields) if f"`{name}`" not in PAGE and f'"{name}"' not in PAGE] == []
