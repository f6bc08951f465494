import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from deploy.layout import ROOT, free_port
from tests.ui.browsers import WAIT_S, chromium
from tests.ui.fakes import FakeGateway, served
from tests.ui.photos import clear_png

PROGRAM = "import sys; from ui import __main__ as page; page.HEAD_S = float(sys.argv[1]); sys.exit(page.main())"


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
    with running_page(uploads, f"http://127.0.0.1:{silent_gateway.port}") as page:
        yield page.address


# Of a module and not of the session: while it is open, no test can run an event loop of its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@dataclass(frozen=True)
class PageProcess:
    address: str
    process: subprocess.Popen[str]


@contextmanager
def running_page(
    uploads: Path, gateway_url: str = "http://127.0.0.1:9", head_s: float = 10, **settings: str
) -> Iterator[PageProcess]:
    """The page in a process of its own, once it can be asked; it waits so long for a request's head."""
    port = free_port()
    own = {"UI_PORT": str(port), "UI_GATEWAY_URL": gateway_url, "UI_PHOTO_FOLDER": str(uploads)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(head_s)],
        cwd=ROOT,
        env=os.environ | own | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = f"http://{'localhost' if 'UI_HOST' in settings else '127.0.0.1'}:{port}"
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"The page is at {address}"), line
        assert httpx.get(address, trust_env=False, timeout=WAIT_S).status_code == 200
        yield PageProcess(address, process)
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_S)
