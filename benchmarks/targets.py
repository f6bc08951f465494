"""The processes that are measured: the real gateway on a null back end, the back end alone, and a bare echo."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from benchmarks.load import HOST, post, upload
from benchmarks.report import ECHO, GATEWAY, NULL
from stack.layout import ROOT, Ports
from stack.torchserve import MODEL

START_S: Final = 180


class TargetError(RuntimeError):
    """A process cannot be measured: it does not come up."""


@dataclass(frozen=True)
class Target:
    """A process that answers a request on a port."""

    name: str
    port: int
    request: bytes
    process: psutil.Process

    def cpu_s(self) -> float:
        """Processor seconds that the process has used, all of its threads."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def running(photo: bytes, folder: Path) -> Iterator[list[Target]]:
    """Start all of them and wait until they answer; the gateway as in production, but for the limit of rates.

    Raises:
        TargetError: One of them does not come up.
    """
    ports, key, token = Ports.free(), secrets.token_hex(), secrets.token_hex(4)
    key_file = folder / "key_file.json"
    key_file.write_text(json.dumps({"inference": {"key": token}}))
    gateway = {
        "API_KEYS": key,
        "RATE_LIMIT_ENABLED": "false",
        "GATEWAY_TORCHSERVE_URL": f"http://{HOST}:{ports.inference}",
        "GATEWAY_TORCHSERVE_KEY_FILE": str(key_file),
        "GATEWAY_DRIFT_FILE": ".",
    }
    with (
        process(_uvicorn("null_model", ports.inference), ports.inference, folder) as null,
        process(_uvicorn("echo", ports.page), ports.page, folder) as echo,
        _gateway(ports.gateway, folder, gateway) as real,
    ):
        yield [
            Target(NULL, ports.inference, direct(photo), null),
            Target(ECHO, ports.page, upload("/predict", photo), echo),
            Target(GATEWAY, ports.gateway, upload("/predict", photo, f"X-API-Key: {key}"), real),
        ]


def _gateway(port: int, folder: Path, environment: Mapping[str, str]) -> AbstractContextManager[psutil.Process]:
    settings = {**environment, "GATEWAY_PORT": str(port)}
    return process([sys.executable, "-m", "gateway"], port, folder, settings)


def direct(photo: bytes, *headers: str) -> bytes:
    """The request for a verdict as TorchServe itself takes it."""
    return post(f"/predictions/{MODEL}", "application/octet-stream", photo, *headers)


def _uvicorn(application: str, port: int) -> list[str]:
    options = ["--host", HOST, "--port", str(port), "--no-access-log", "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", f"benchmarks.servers:{application}", *options]


@contextmanager
def process(
    command: list[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """Start a process, wait until it listens on a port, and stop it on the way out.

    Raises:
        TargetError: It does not come up.
    """
    log = folder / f"{port}.log"
    with (
        log.open("wb") as out,
        psutil.Popen(command, cwd=ROOT, env=os.environ | (environment or {}), stdout=out, stderr=out) as started,
    ):
        try:
            _wait(port, started, log)
            yield started
        finally:
            started.terminate()


def _wait(port: int, process: psutil.Popen, log: Path) -> None:
    start = time.monotonic()
    while time.monotonic() - start < START_S and process.poll() is None:
        try:
            httpx.get(f"http://{HOST}:{port}/healthz", trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TargetError(f"nothing listens on port {port}; its log ends with: {log.read_text()[-500:]}")
