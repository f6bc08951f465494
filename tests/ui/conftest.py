import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from deploy.layout import free_port
from tests.ui.browsers import WAIT_S, chromium
from tests.ui.fakes import FakeGateway, served
from tests.ui.photos import clear_png

ROOT = Path(__file__).parents[2]


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
    with served(silent_gateway.app(), silent_gateway.port):
        yield silent_gateway


@pytest.fixture(scope="session")
def page_address(silent_gateway: FakeGateway, uploads: Path) -> Iterator[str]:
    """The real page, asking whatever listens on the fake gateway's port."""
    with page_process(free_port(), f"http://127.0.0.1:{silent_gateway.port}", uploads) as address:
        yield address


# Of a module and not of the session: while it is open, no test can run an event loop of its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@contextmanager
def page_process(port: int, gateway_url: str, uploads: Path) -> Iterator[str]:
    """The page's address, while its process runs."""
    process = start_page(port, gateway_url, uploads)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(process, address)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_S)


def start_page(port: int, gateway_url: str, uploads: Path, **more: str) -> subprocess.Popen[str]:
    settings = {"UI_PORT": str(port), "UI_GATEWAY_URL": gateway_url, "UI_PHOTO_FOLDER": str(uploads), **more}
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
