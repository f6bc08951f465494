"""How a user gets the command: by make in the checkout, and elsewhere with nothing but a client's packages."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.layout import ROOT
from tests.gateway.client.wire import Gateway

pytestmark = pytest.mark.slow

UV = [sys.executable, "-m", "uv", "--quiet"]
VERSION = f"product-photo-detector {tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}\n"
LOCK = str(ROOT / "requirements" / "dev.txt")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    folder = tmp_path / "venv"
    subprocess.run([*UV, "venv", "--python", sys.executable, folder], check=True)
    return folder


def said(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_make_puts_the_command_of_the_checkout_into_its_environment(venv: Path) -> None:
    command = venv / "bin" / "product-photo-detector"
    (venv / "bin" / "uv").symlink_to(Path(sys.executable).parent / "uv")
    (venv / "installed").touch()
    make = ["make", "--no-print-directory", f"VENV={venv}", str(command)]
    subprocess.run(make, cwd=ROOT, check=True)
    assert said(command, "--version") == VERSION
    assert said(command, "keys", "new", "shop").startswith("ppd_")
    again = subprocess.run(make, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "is up to date" in again.stdout


def test_elsewhere_the_client_is_all_that_is_installed(venv: Path, tmp_path: Path, service: Gateway, url: str) -> None:
    python = venv / "bin" / "python"
    locked: list[str | Path] = ["--python", python, "--constraints", LOCK, "--build-constraints", LOCK]
    environment = os.environ | {"UV_SYSTEM_CERTS": "true"}
    subprocess.run([*UV, "pip", "install", *locked, f"{ROOT}[client]"], check=True, env=environment)
    (tmp_path / "photo.jpg").write_bytes(b"87")
    command = venv / "bin" / "product-photo-detector"
    out = said(command, "check", "photo.jpg", "--csv", "--url", url)
    assert out.splitlines()[1].startswith("photo.jpg,ai_generated,0.87,")
    assert said(command, "--version") == VERSION
    assert [path for path, _ in service.asked] == ["/predict"]
    missing = "import importlib.util as i; print([n for n in ('torch', 'starlette', 'numpy') if i.find_spec(n)])"
    assert said(python, "-c", missing) == "[]\n"
