import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deploy.layout import ROOT
from tests.ui.browsers import WAIT_S
from tests.ui.conftest import running_page

pytestmark = pytest.mark.slow


def test_whatever_proxies_are_set_the_page_starts_and_sigterm_stops_it_and_removes_what_was_uploaded(
    tmp_path: Path,
) -> None:
    http, socks = "http://127.0.0.1:9", "socks5://127.0.0.1:9"
    with running_page(tmp_path, HTTP_PROXY=http, http_proxy=http, ALL_PROXY=socks, all_proxy=socks) as page:
        upload = {"files": ("photo.png", b"photo", "image/png")}
        assert httpx.post(f"{page.address}/gradio_api/upload", files=upload, trust_env=False).status_code == 200
        assert [path.name for path in tmp_path.rglob("*.png")] == ["photo.png"]
        page.process.terminate()
        rest, _ = page.process.communicate(timeout=WAIT_S)
    assert (page.process.returncode, rest, list(tmp_path.iterdir())) == (0, "", [])


def test_the_page_on_all_addresses_is_heard_on_both_families(tmp_path: Path) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with running_page(tmp_path, UI_HOST="::") as page:
        for host in ("127.0.0.1", "[::1]"):
            address = page.address.replace("localhost", host)
            assert httpx.get(address, trust_env=False).status_code == 200


def test_the_page_serves_its_own_icon_and_offers_no_api(page_address: str) -> None:
    icon = httpx.get(f"{page_address}/favicon.ico", trust_env=False)
    assert icon.content == (ROOT / "ui" / "assets" / "favicon.svg").read_bytes()
    info = httpx.get(f"{page_address}/gradio_api/info", trust_env=False)
    assert info.json() == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_a_bad_setting_stops_the_page_with_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ui"],
        cwd=ROOT,
        env={**os.environ, "UI_PORT": "http"},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("The page cannot start: UI_PORT='http'")
    assert done.stderr.count("\n") == 1
