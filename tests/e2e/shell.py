"""Documented commands in a shell, as a reader would run them, against a gateway that listens somewhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DOCUMENTED = ("http://127.0.0.1:8080", "localhost:8080")

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@dataclass(frozen=True)
class Shell:
    """A folder in which commands run, and the gateway that they talk to; curl says the status on standard error."""

    folder: Path
    gateway: str
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / ".curlrc").write_text('silent\nnoproxy = "*"\nwrite-out = "%{stderr}%{http_code}"\n')
        python = self.folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a command, or several, and return what they printed."""
        for address in DOCUMENTED:
            script = script.replace(address, self.gateway)
        command = ("bash", "-c", script)
        environment = os.environ | {"CURL_HOME": str(self.folder), "HOME": str(self.folder)} | self.variables
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
