"""The documentation as a site: it builds strictly, loads nothing from outside, and names what is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs.tools import site as hook
from tests.checks import none
from tests.pages import pages

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


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_outside(tmp_path: Path) -> None:
    """Strictly: every page is in the navigation, and no link is dead."""
    command = (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path))
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    html = [file.read_text(encoding="utf-8") for file in tmp_path.rglob("*.html")]
    loaded = {address for text in html for address in Loads(text).addresses}
    none((address for address in loaded if re.match(r"([a-z]+:)?//", address)), of=loaded)
    styles = "\n".join(file.read_text(encoding="utf-8") for file in tmp_path.rglob("*.css"))
    none(re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)'\"]+", styles), of=styles)
    assert (tmp_path / "repository/model_store/MODEL_CARD.html").is_file()


def test_links_are_moved_and_code_is_left_alone() -> None:
    text = "[a](api.md#x) ![p](../reports/a.png) [c](../params.yaml) [r](../README.md) [o](https://x/y)"
    assert hook.moved(text, "page.md") == (
        "[a](api.md#x) ![p](repository/reports/a.png) [c](repository/params.yaml) [r](index.md) [o](https://x/y)"
    )
    code = "```bash\n[a](../b.py)\n```\n"
    assert hook.moved(code, "page.md") == code


def test_targets_of_make_that_a_page_names_exist() -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*## ", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for page in pages() for name in re.findall(r"`make ([a-z0-9-]+)", page.read_text(encoding="utf-8"))}
    none(named - set(targets), of=named)


def test_readmes_figures_are_those_of_the_models_card() -> None:
    card = " ".join(Path("model_store/MODEL_CARD.md").read_text(encoding="utf-8").split())
    text = Path("README.md").read_text(encoding="utf-8")
    figures = re.findall(r"0\.\d{3}\D{0,3} \(0\.\d{3} to 0\.\d{3}\)", text)
    none((figure for figure in figures if figure.replace("*", "") not in card), of=figures)
