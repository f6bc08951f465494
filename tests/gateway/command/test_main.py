"""The command as a whole: its help, its version, and what it hands on to the local stack."""

from __future__ import annotations

import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.layout import ROOT, Layout
from deploy.local import versions
from deploy.torchserve.management import ModelApi
from gateway.command import __main__
from tests.deploy.fake_torchserve import NAME, FakeTorchServe, pack
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


def test_serve_is_the_demo(command: Command, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit, match=f"^demo: port {port} \\(gateway\\) is in use"):
            __main__.main(["serve", "--gateway-port", port, "--photo", __file__, "--var", str(tmp_path)])
    assert capfd.readouterr().out == ""
    assert "usage: product-photo-detector serve" in command("serve", "--help").out


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that lead to a running TorchServe, a fake one, with two versions in its store."""
    layout = Layout(var=tmp_path / "var", store=tmp_path)
    layout.torchserve.mkdir(parents=True)
    layout.config.write_text(f"load_models={NAME}.mar\n")
    pack(tmp_path / f"{NAME}.mar", "1.1.0")
    pack(tmp_path / f"{NAME}-1.2.0.mar", "1.2.0")
    torchserve = FakeTorchServe(tmp_path)
    torchserve.polls_until_ready = 0

    @contextmanager
    def connect(_layout: Layout) -> Iterator[ModelApi]:
        yield torchserve.api()

    monkeypatch.setattr(versions, "connected", connect)
    return ["--var", str(layout.var), "--store", str(tmp_path)]


def test_models_are_listed_promoted_and_rolled_back(command: Command, store: list[str]) -> None:
    assert "1.1.0" in command("models", "list", *store).out
    assert command("models", "promote", "1.2.0", *store).out.startswith("live: 1.2.0, with 2 workers\n")
    ended = command("models", "rollback", *store)
    assert (ended.code, ended.out.splitlines()[0]) == (0, "live: 1.1.0, with 2 workers")
