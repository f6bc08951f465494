"""Prometheus as a process on this machine, with the shipped configuration in quick motion."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from stack.layout import HOST, ROOT, StackError, free_port
from stack.local import Report
from stack.monitoring.api import Prometheus
from stack.supervisor import Supervisor

SHIPPED: Final = ROOT / "docker" / "prometheus"
INTERVAL: Final = "1s"
"""Between scrapes, and between evaluations of the rules."""
START_S: Final = 60


def find_prometheus() -> Path:
    """Return the `prometheus` in PATH.

    Raises:
        StackError: There is none.
    """
    found = shutil.which("prometheus")
    if found is None:
        raise StackError(
            "no prometheus in PATH: install it (Debian and Ubuntu: `apt install prometheus`, macOS: `brew install "
            "prometheus`, else from prometheus.io/download) and try again"
        )
    return Path(found)


def start(
    supervisor: Supervisor, folder: Path, targets: Mapping[str, str], minute_ms: int, progress: Report
) -> Prometheus:
    """Start it and wait until it has scraped all targets (`host:port` by job) and no critical alert is about.

    Raises:
        StackError: It is not installed or ended, or this took too long.
    """
    port = free_port()
    watched = {**targets, "prometheus": f"{HOST}:{port}"}
    supervisor.start("prometheus", prepare(find_prometheus(), folder, watched, port, minute_ms), folder)
    prometheus = Prometheus(f"http://{HOST}:{port}")
    deadline = time.monotonic() + START_S
    while not prometheus.settled(set(watched)):
        supervisor.check()
        if time.monotonic() > deadline:
            raise StackError(f"Prometheus has not scraped all of {', '.join(watched)} within {START_S} s")
        progress("waiting for Prometheus's first scrapes")
        time.sleep(0.25)
    return prometheus


def prepare(prometheus: Path, folder: Path, targets: Mapping[str, str], port: int, minute_ms: int) -> list[str]:
    """Write a configuration and return the command to run.

    It is the shipped one, with targets (`host:port` by job) and intervals of this machine, and with rules in which
    each minute of a `for` takes so many milliseconds.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "rules").mkdir(parents=True)
    for rules in (SHIPPED / "rules").glob("*.yml"):
        (folder / "rules" / rules.name).write_text(quicker(rules.read_text(encoding="utf-8"), minute_ms))
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
    for scrape in config["scrape_configs"]:
        scrape["static_configs"] = [{"targets": [targets[scrape["job_name"]]]}]
        scrape["scrape_timeout"] = INTERVAL  # it may not be longer than the interval
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return [
        str(prometheus),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    ]


def quicker(rules: str, minute_ms: int) -> str:
    """Rules in which each minute of a `for` takes so many milliseconds."""
    minutes = {"m": 1, "h": 60}
    return re.sub(
        r"^( +for: )(\d+)([mh])$",
        lambda found: f"{found[1]}{int(found[2]) * minutes[found[3]] * minute_ms}ms",
        rules,
        flags=re.MULTILINE,
    )
