"""Prometheus's own checker, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.layout import ROOT

PROMETHEUS = ROOT / "docker" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: it comes with Prometheus"
)


def promtool(*arguments: str | Path) -> str:
    """What promtool says; it must agree."""
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)  # noqa: S607 - from PATH
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def all_rules() -> list[dict[str, Any]]:
    """Every recording and alert rule."""
    return [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert rule by its name."""
    return {rule["alert"]: rule for rule in all_rules() if "alert" in rule}
