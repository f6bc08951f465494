"""The command as a whole: its help, its version, and what it hands on to the local stack."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.layout import ROOT
from gateway.command import __main__
from tests.gateway.command.conftest import Command

LIGHT = """
import sys
from gateway.command.__main__ import main
try:
    main(["--version"])
except SystemExit:
    print(*sorted({"httpx", "rich", "gateway.client", "deploy"} & set(sys.modules)))
"""


def test_the_version_is_the_projects(command: Command) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert command("--version").out == f"product-photo-detector {version}\n"


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    run = subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.splitlines()[1:] == [""]


def test_serve_is_the_demo_and_leaves_no_signal_ignored(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit, match=f"^demo: port {port} \\(gateway\\) is in use"):
            __main__.main(["serve", "--gateway-port", port, "--photo", __file__, "--var", str(tmp_path)])
    assert capfd.readouterr().out == ""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("name", ["serve", "models"])
def test_what_runs_the_local_stack_parses_its_own_words(command: Command, name: str) -> None:
    assert f"usage: product-photo-detector {name}" in command(name, "--help").out
