import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deploy.layout import free_port
from tests.ui.browsers import WAIT_S
from tests.ui.conftest import ROOT, page_process, start_page, wait_for

pytestmark = pytest.mark.slow


def test_sigterm_stops_the_page_and_removes_what_was_uploaded(tmp_path: Path) -> None:
    port = free_port()
    process = start_page(port, "http://127.0.0.1:9", tmp_path)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(process, address)
        upload = {"files": ("photo.png", b"photo", "image/png")}
        assert httpx.post(f"{address}/gradio_api/upload", files=upload, trust_env=False).status_code == 200
        assert [path.name for path in tmp_path.rglob("*.png")] == ["photo.png"]
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=WAIT_S)
    assert (process.returncode, rest, list(tmp_path.iterdir())) == (0, "", [])


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9"])
def test_the_page_starts_whatever_proxies_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.lower(), proxy)
    with page_process(free_port(), "http://127.0.0.1:9", tmp_path):
        pass


def test_the_page_on_all_addresses_is_heard_on_both_families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    monkeypatch.setenv("UI_HOST", "::")
    port = free_port()
    process = start_page(port, "http://127.0.0.1:9", tmp_path)
    try:
        wait_for(process, f"http://localhost:{port}")
        for host in ("127.0.0.1", "[::1]"):
            assert httpx.get(f"http://{host}:{port}", trust_env=False).status_code == 200
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_S)


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
