"""The documentation as a site: it builds strictly, loads nothing from outside, and can be searched without a server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from docs.tools import site as hook
from tests.ops.commands import pages
from tests.ui.browsers import WAIT_MS, chromium

LOADED_BY_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "manifest"}


class Loads(HTMLParser):
    """The addresses that a browser loads by itself for a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "link" and LOADED_BY_LINKS & set(given.get("rel", "").split()):
            self.addresses.append(given["href"])
        self.addresses += [given[name] for name in ("src", "srcset", "poster", "data") if name in given]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder))
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def html(built: Path) -> dict[str, str]:
    return {str(file.relative_to(built)): file.read_text(encoding="utf-8") for file in built.rglob("*.html")}


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("settings", "| `REQUIRE_AUTH` | `false` | "),
        ("settings", "| `API_KEYS` | none | "),
        ("metrics", "| `http_requests_total` | counter | `method`, `endpoint`, `status` | "),
        ("metrics", "| `process_open_fds` | gauge |  | "),
        ("errors", "| 429 | `rate_limited` | Rate limit exceeded | "),
        ("errors", "| 404 | `not_found` | Not Found | "),
        ("check", "| `-q, --quiet` | "),
        ("keys-new", "| `--file FILE` | "),
    ],
)
def test_tables_are_generated_from_the_code(table: str, row: str) -> None:
    assert row in hook.TABLES[table]()


def test_pages_show_every_generated_table(built: Path) -> None:
    shown = {name for page in pages() for name in hook.GENERATED.findall(page.read_text(encoding="utf-8"))}
    assert shown == set(hook.TABLES)
    assert "GATEWAY_BACKEND_QUEUE" in (built / "configuration.html").read_text(encoding="utf-8")


def test_every_page_is_in_the_site_and_readme_is_the_first(html: dict[str, str]) -> None:
    places = {hook.place(str(page)).replace(".md", ".html") for page in pages()}
    assert places - set(html) == set()
    assert "<title>AI product photo detector</title>" in html["index.html"]


def test_a_page_is_in_the_navigation_once() -> None:
    """That it is there at all is what the strict build wants."""
    named = re.findall(r"^ +- (?:\w+: )?(\S+\.md)$", Path("mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, times in Counter(named).items() if times > 1] == []
    assert {f"docs/{name}" for name in named} == {str(page) for page in pages()} - {"README.md"} | {"docs/index.md"}


def test_no_page_loads_anything_from_outside(html: dict[str, str]) -> None:
    loaded = {(page, address) for page, text in html.items() for address in Loads(text).addresses}
    assert len(loaded) > len(html)
    assert {each for each in loaded if re.match(r"([a-z]+:)?//", each[1])} == set()


def test_no_style_loads_anything_from_outside(built: Path) -> None:
    styles = "\n".join(file.read_text(encoding="utf-8") for file in built.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)'\"]+", styles) == []


def test_what_pages_link_to_in_the_repository_came_along(built: Path) -> None:
    assert (built / "repository/model_store/MODEL_CARD.html").is_file()
    assert "operating_point" in (built / "repository/params.yaml.html").read_text(encoding="utf-8")
    assert (built / "repository/reports/figures/evaluate/roc.png").is_file()
    assert not (built / "tools").exists()


def test_links_are_moved_and_code_is_left_alone() -> None:
    text = "[a](api.md#x) ![p](../reports/a.png) [c](../params.yaml) [r](../README.md) [o](https://x/y)"
    assert hook.moved(text, "page.md") == (
        "[a](api.md#x) ![p](repository/reports/a.png) [c](repository/params.yaml.md) [r](index.md) [o](https://x/y)"
    )
    assert hook.moved("[a](docs/api.md) [c](CHANGELOG.md)", "index.md") == "[a](api.md) [c](repository/CHANGELOG.md)"
    assert hook.moved("[s](../docs/api.md)", "repository/model_store/CARD.md") == "[s](../../api.md)"
    code = "```bash\n[a](../b.py)\n```\n"
    assert hook.moved(code, "page.md") == code


@pytest.fixture
def reader() -> Iterator[Page]:
    """A browser in which every request that leaves the disk is written down."""
    asked: list[str] = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        yield page
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:", "about:"))] == []


def test_a_reader_without_a_network_or_a_server_finds_a_page(reader: Page, built: Path) -> None:
    reader.goto((built / "index.html").as_uri())
    field = reader.get_by_role("textbox", name="Search")
    field.click()
    field.press_sequentially("worker crash loop")  # the search listens to keys
    found = reader.locator(".md-search-result__link[href*='INCIDENT_SCENARIO.html']").first
    expect(found).to_be_visible(timeout=WAIT_MS)
    found.click()
    expect(reader).to_have_url(re.compile(r"/INCIDENT_SCENARIO\.html"), timeout=WAIT_MS)
