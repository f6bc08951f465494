"""Gateways as processes of their own, each with a log and settings of its own; and what runs besides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from deploy.layout import HOST, ROOT, free_port
from deploy.local.stack import LocalStack

START_S = 60
PATIENCE_S = 180
"""For TorchServe's workers, which import torch; on a quiet machine they take six seconds."""
PROGRAM = """
import json, sys
from gateway.__main__ import main
from gateway.settings import Settings
for name, value in json.loads(sys.argv[1]).items():
    setattr(Settings, name, value)
main()
"""


@dataclass(frozen=True)
class Gateway:
    """A gateway, listening."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path


@contextmanager
def running_gateway(log: Path, **settings: str) -> Iterator[Gateway]:
    """Start a gateway with these environment variables and none from outside; kill it if it is left running.

    Names in lower case are constants of its settings.
    """
    constants = {name: float(settings.pop(name)) for name in list(settings) if name.islower()}
    port = settings.get("GATEWAY_PORT") or str(free_port())
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    chosen = {"GATEWAY_PORT": port, "GATEWAY_DRIFT_FILE": ".", **settings}
    command = [sys.executable, "-c", PROGRAM, json.dumps(constants)]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, cwd=ROOT, env=inherited | chosen, stdout=out, stderr=out) as process,
    ):
        try:
            url = f"http://{HOST}:{port}"
            wait_until_up(url, process)
            yield Gateway(process, url, log)
        finally:
            process.kill()


def wait_until_up(url: str, process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        assert process.poll() is None, "the gateway has ended; see its log"
        try:
            httpx.get(f"{url}/healthz", trust_env=False).raise_for_status()
        except httpx.ConnectError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def until(condition: Callable[[], bool], stack: LocalStack | None = None) -> None:
    """Wait for something while the stack's processes are brought back, as `make demo` does twice a second."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        if stack:
            stack.supervisor.check()
        time.sleep(0.1)


def processes(word: str) -> list[psutil.Process]:
    """Everything that the tests started and that has a word in its command line."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE and any(word in each for each in process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
