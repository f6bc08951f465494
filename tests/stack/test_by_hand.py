"""The script by which `docs/versions.md` switches versions with curl alone, on a TorchServe that takes notes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stack.layout import HOST, Layout
from tests.pages import blocks

TOKEN = "a-token-of-management"  # noqa: S105 - no secret
NOT_READY_FIRST = 2


class Management(ThreadingHTTPServer):
    """Answers as TorchServe's management API; a version is ready when it was looked at often enough."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), Answering)
        self.told: list[str] = []
        self.looks = 0


class Answering(BaseHTTPRequestHandler):
    server: Management

    def _answer(self) -> None:
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.send_error(403)
            return
        self.server.looks += self.command == "GET"
        status = "READY" if self.server.looks > NOT_READY_FIRST else "UNLOADING"
        if self.command != "GET":
            self.server.told.append(f"{self.command} {self.path}")
        content = json.dumps([{"workers": [{"status": status}]}]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names that it has there

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it has there
        """Say nothing."""


@pytest.fixture
def management() -> Iterator[Management]:
    with Management() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_pages_script_switches_versions(management: Management, tmp_path: Path) -> None:
    page = Path("docs/versions.md").read_text(encoding="utf-8")
    [script] = [body for language, body in blocks(page) if language == "bash"]
    layout = Layout(var=tmp_path / "var")
    layout.torchserve.mkdir(parents=True)
    layout.key_file.write_text(json.dumps({"management": {"key": TOKEN}}))
    sleep = tmp_path / "bin" / "sleep"
    sleep.parent.mkdir()
    sleep.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/slept"\n')
    sleep.chmod(0o755)
    command = ("bash", "-euc", script.replace("127.0.0.1:8086", f"{HOST}:{management.server_port}"))
    environment = os.environ | {"PATH": f"{sleep.parent}{os.pathsep}{os.environ['PATH']}", "no_proxy": "*"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert management.told == [
        "POST /models?url=product-photo-detector-9.9.9.mar&synchronous=false",
        "PUT /models/product-photo-detector/9.9.9/set-default",
        "DELETE /models/product-photo-detector/2.0.0",
    ]
    assert (tmp_path / "slept").read_text().split() == ["1"] * NOT_READY_FIRST + ["30"]
