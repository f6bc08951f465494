"""The gateway runs from its own lock alone: no torch in its image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROGRAM = """
import importlib.util, sys
import gateway.app
gateway.app.create_app()
assert 'torch' not in sys.modules
assert importlib.util.find_spec('torch') is None
"""


def test_the_lock_is_all_it_needs(tmp_path: Path) -> None:
    uv = [sys.executable, "-m", "uv", "--quiet"]
    lock = ROOT / "requirements" / "gateway.txt"
    subprocess.run([*uv, "venv", "--python", sys.executable, tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([*uv, "pip", "install", "--python", python, "--require-hashes", "-r", lock], check=True)
    subprocess.run([python, "-W", "error", "-c", PROGRAM], cwd=ROOT, check=True)
