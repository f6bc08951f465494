import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from stack.layout import free_port
from tests.ui.fakes import FakeGateway, served
from tests.ui.photos import clear_png

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@pytest.fixture
def png() -> bytes:
    return clear_png(60, 40)


@pytest.fixture(scope="session")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="session")
def silent_gateway() -> FakeGateway:
    """The gateway that the page is told of, not running."""
    return FakeGateway(free_port())


@pytest.fixture
def gateway(silent_gateway: FakeGateway) -> Iterator[FakeGateway]:
    silent_gateway.reset()
    with served(silent_gateway):
        yield silent_gateway


@pytest.fixture(scope="session")
def page_address(silent_gateway: FakeGateway, uploads: Path) -> Iterator[str]:
    """The real page, asking the fake gateway."""
    port = free_port()
    process = start_page(port, f"http://127.0.0.1:{silent_gateway.port}", uploads)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(process, address)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_S)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium on this machine: install Debian's chromium, or point CHROMIUM at one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def start_page(port: int, gateway_url: str, uploads: Path) -> subprocess.Popen[str]:
    settings = {"UI_PORT": str(port), "UI_GATEWAY_URL": gateway_url, "UI_PHOTO_FOLDER": str(uploads)}
    return subprocess.Popen(
        [sys.executable, "-m", "ui"],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], address: str) -> None:
    """Return when the page says where it is; it says so once it can be asked."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(f"The page is at {address}"), line
    assert httpx.get(address, trust_env=False, timeout=WAIT_S).status_code == 200
