"""Child processes: each with a log, watched while they run, stopped in reverse order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from stack.layout import StackError

GRACE_S = 15
"""Seconds that a process may take to stop before it is killed; TorchServe takes three or four."""


@dataclass(frozen=True)
class Child:
    """A running process, the leader of its own process group."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Supervisor:
    """Starts processes out of reach of the terminal's Ctrl-C, so that they stop in order and only when told."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = environment
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, name: str, command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start a process in a folder; what it prints goes to `NAME.log`."""
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                cwd=folder,
                env={**self._environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children.append(Child(name, process, log))

    def check(self) -> None:
        """Raise StackError when a process has ended by itself."""
        for child in self._children:
            if child.process.poll() is not None:
                raise StackError(f"{child.name} stopped: {last_line(child.log)} (its log: {child.log})")

    def stop(self) -> None:
        """Stop every process, the last started first; kill what does not go."""
        while self._children:
            _stop(self._children.pop().process)


def last_line(log: Path) -> str:
    """Return the last line with text in a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # itself if it did not go, and workers that outlived it
    process.wait()
