"""The stacks that are measured, as processes: the product as it ships, and the plain service with two sets of views."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import psutil

from benchmarks.figures import BATCH, BATCH_FILES, EXPLAIN, GATEWAY, HEALTH, PLAIN, PREDICT, SMALL, TORCHSERVE
from benchmarks.load import LoadError, batch, get, measure, upload
from benchmarks.targets import TargetError, direct, process
from stack.layout import Layout, Ports, free_port
from stack.local import START_S, LocalStack, running

SMALL_SIDE: Final = 224
"""Pixels; what EfficientNet-B0 was made for."""


@dataclass(frozen=True)
class Stack:
    """Where a stack listens, what it can be asked for, its processes, and the seconds to its first verdict."""

    name: str
    port: int
    requests: Mapping[str, bytes]
    processes: Sequence[psutil.Process]
    start_s: float


@dataclass(frozen=True)
class BenchLayout(Layout):
    """A layout whose gateway takes one API key and limits no rates."""

    api_key: str = field(default_factory=secrets.token_hex)

    def environment(self) -> dict[str, str]:
        """The environment of every process."""
        return super().environment() | {"API_KEYS": self.api_key, "RATE_LIMIT_ENABLED": "false"}


@contextmanager
def stacks(photo: bytes, layout: BenchLayout, spec: Mapping[str, Any]) -> Iterator[list[Stack]]:
    """Start all stacks one after the other, so that each has the machine for its start-up.

    Raises:
        TargetError: One of them gives no verdict.
    """
    with ExitStack() as opened:
        yield [
            opened.enter_context(_plain(SMALL, [SMALL_SIDE], photo, layout.var)),
            opened.enter_context(_plain(PLAIN, sides(spec), photo, layout.var)),
            *opened.enter_context(product(photo, layout)),
        ]


def sides(spec: Mapping[str, Any]) -> list[int]:
    """Return the side of every view that the shipped model takes of an image, in pixels."""
    details = spec.get("details", spec.get("detail_grid", 0) ** 2)  # a grid is what archives up to 1.1.0 have
    return [spec["input_size"], *[spec.get("detail_size", spec["input_size"])] * details]


def memory_mb(processes: Sequence[psutil.Process]) -> float:
    """Return the resident memory of processes and all their children, in MB; what they share counts for each."""
    every = {child for one in processes for child in [one, *one.children(recursive=True)]}
    return float(sum(one.memory_info().rss for one in every)) / 1e6


@contextmanager
def _plain(name: str, views: Sequence[int], photo: bytes, folder: Path) -> Iterator[Stack]:
    port, request, started = free_port(), upload("/predict", photo), perf_counter()
    command = [sys.executable, "-m", "benchmarks.baseline", "--port", str(port), "--sides", *map(str, views)]
    with process(command, port, folder) as running_process:
        start_s = _first_answer(port, request, started)
        requests = {PREDICT: request, HEALTH: get("/healthz")}
        yield Stack(name, port, requests, [running_process], start_s)


@contextmanager
def product(photo: bytes, layout: BenchLayout) -> Iterator[list[Stack]]:
    """Start the product; TorchServe alone and the whole with its gateway are a stack each.

    Raises:
        TargetError: It gives no verdict.
    """
    others, started = set(psutil.Process().children()), perf_counter()
    with running(layout, Ports.free(), page=False) as stack:
        model_server, gateway = sorted(set(psutil.Process().children()) - others, key=psutil.Process.create_time)
        header, token = f"X-API-Key: {layout.api_key}", _token(stack, started)
        bare = direct(photo, f"Authorization: Bearer {token}", "X-Request-Id: benchmark")
        bare_s = _first_answer(stack.ports.inference, bare, started, stack.supervisor.check)
        requests = {
            PREDICT: upload("/predict", photo, header),
            EXPLAIN: upload("/predict/explain", photo, header),
            BATCH: batch("/predict/batch", [photo] * BATCH_FILES, header),
            HEALTH: get("/healthz"),
        }
        start_s = _first_answer(stack.ports.gateway, requests[PREDICT], started, stack.supervisor.check)
        yield [
            Stack(TORCHSERVE, stack.ports.inference, {PREDICT: bare}, [model_server], bare_s),
            Stack(GATEWAY, stack.ports.gateway, requests, [model_server, gateway], start_s),
        ]


def _token(stack: LocalStack, started: float) -> str:
    while perf_counter() - started < START_S:
        stack.supervisor.check()
        try:
            return stack.token("inference")
        except (OSError, ValueError):  # not there yet, or half of it
            time.sleep(0.05)
    raise TargetError("TorchServe wrote no tokens")


def _first_answer(port: int, request: bytes, started: float, check: Callable[[], None] = lambda: None) -> float:
    while (elapsed := perf_counter() - started) < START_S:
        check()
        try:
            measure(port, request, requests=1, connections=1)
        except* (OSError, EOFError, LoadError):
            time.sleep(0.05)
        else:
            return perf_counter() - started
    raise TargetError(f"no verdict from port {port} within {elapsed:.0f} s")
