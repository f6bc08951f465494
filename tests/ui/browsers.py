"""Chromium, and pages in it that may ask nobody but the page's own server."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, ViewportSize, expect, sync_playwright

from tests.e2e.processes import until

WAIT_S = 60.0
WAIT_MS = WAIT_S * 1000
PHONE = ViewportSize(width=390, height=844)
DESKTOP = ViewportSize(width=1200, height=900)
CHANGED = "net::ERR_NETWORK_CHANGED"
ATTEMPTS = 3
SERIOUS = {"serious", "critical"}
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where none is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium on this machine: install Debian's chromium, or point CHROMIUM at one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, address: str) -> Iterator[Page]:
    """The page in a fresh tab; fails when anything but the page's own server was asked for anything."""
    expect.set_options(timeout=WAIT_MS)
    outside: list[str] = []

    def note(request: Request) -> None:
        asked = urlsplit(request.url)
        if asked.scheme not in {"data", "blob"} and asked.netloc != urlsplit(address).netloc:
            outside.append(request.url)

    context = browser.new_context(viewport=DESKTOP, color_scheme="light", reduced_motion="reduce")
    context.set_default_timeout(WAIT_MS)
    context.on("request", note)
    tab = context.new_page()
    _load(tab, address)
    yield tab
    context.close()
    assert outside == []


def _load(tab: Page, address: str) -> None:
    """Load the page, again if Chromium dropped parts of it because this machine's network changed, as containers do."""
    dropped: list[str] = []
    tab.on("requestfailed", lambda request: dropped.append(request.url) if request.failure == CHANGED else None)
    for _ in range(ATTEMPTS):
        dropped.clear()
        tab.goto(address)
        until(lambda: tab.locator("#check").is_visible() or bool(dropped))
        if not dropped:
            return
    raise AssertionError(dropped)


def open_tab(page: Page, name: str) -> None:
    """Open one of the page's tabs."""
    tab = page.get_by_role("tab", name=name)
    tab.click()
    expect(tab).to_have_attribute("aria-selected", "true")


def posts(page: Page) -> list[str]:
    """What the page asks of its server from now on; Gradio's events are POSTs, its standing channels are not."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    return asked


def faults(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds that keeps people out, with the places."""
    found = Axe().run(page).response["violations"]
    return [(one["id"], [str(node["target"]) for node in one["nodes"]]) for one in found if one["impact"] in SERIOUS]
