"""Prometheus beside the stack: the shipped configuration in quick motion, and the message where it is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import drift_demo
from deploy.layout import ROOT

TARGETS = {"gateway": "127.0.0.1:1", "torchserve": "127.0.0.1:2", "prometheus": "127.0.0.1:3"}


def test_a_minute_of_a_rule_is_as_short_as_one_likes() -> None:
    rules = "      - alert: A\n        for: 15m\n      - alert: B\n        for: 1h\n        expr: rate(x[5m]) > 1\n"
    assert drift_demo.quicker(rules, 200) == rules.replace("15m", "3000ms").replace("1h", "12000ms")


def test_the_configuration_is_the_shipped_one_with_other_targets_and_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_demo, "find_prometheus", lambda: "prometheus")
    assert "--web.listen-address=127.0.0.1:3" in drift_demo.prepare(tmp_path / "p", TARGETS, 1000)
    shipped = yaml.safe_load((ROOT / "docker" / "prometheus" / "prometheus.yml").read_text())
    config = yaml.safe_load((tmp_path / "p" / "prometheus.yml").read_text())
    assert config["rule_files"] == shipped["rule_files"] == ["rules/*.yml"]
    scraped = {each["job_name"]: each["static_configs"][0]["targets"] for each in config["scrape_configs"]}
    assert scraped == {job: [target] for job, target in TARGETS.items()}
    assert config["global"] == {"scrape_interval": "1s", "evaluation_interval": "1s"}


@pytest.mark.slow
def test_without_prometheus_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.drift_demo", "--var", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PATH": ""}, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "monitoring-demo: no prometheus in PATH: install it (Debian and Ubuntu: `apt install prometheus`, "
        "macOS: `brew install prometheus`, else from prometheus.io/download) and try again\n"
    )
