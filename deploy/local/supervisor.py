"""Child processes: each with a log, watched and brought back while they run, stopped in reverse order."""

import contextlib
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.layout import StackError

GRACE_S = 15
"""Seconds that a process may take to stop before it is killed; TorchServe takes three or four."""
STEADY_S = 10
"""A process that ended sooner cannot run at all; one that ran so long has been brought back for good."""
FIRST_PAUSE_S = 1
"""Seconds before a process is started again; twice as many each time that it is not steady in between."""
ATTEMPTS = 5
POLL_S = 0.25
LOG_BYTES = 10 * 1024 * 1024
"""Where a log goes on as a new one; the old one is kept beside it as `NAME.log.1`, so two of these are all."""


@contextlib.contextmanager
def interrupt_once() -> Iterator[None]:
    """Have SIGINT, SIGTERM or SIGHUP, unless ignored as nohup wants it, raise KeyboardInterrupt, and the first alone.

    Another one, of an impatient Ctrl-C or relayed by make, would break off the stop and leave processes behind.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    handlers = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}

    def interrupt(*_: object) -> None:
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in handlers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@dataclass
class Child:
    """A command with its log and a scratch folder, its process, and how often in a row it had to be brought back."""

    name: str
    command: list[str]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    scratch: Path | None
    attempts: int = 0
    ended_at: float | None = None

    def __post_init__(self) -> None:
        self.run()

    def run(self) -> None:
        """Start it as the leader of a process group, with an empty scratch folder and the log going on."""
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir(parents=True)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(  # noqa: S603 - our own commands
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started_at, self.ended_at = time.monotonic(), None


class Supervisor(contextlib.AbstractContextManager["Supervisor"]):
    """Starts processes out of reach of the terminal's Ctrl-C, so that they stop in order and only on request."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = environment
        self._children: list[Child] = []

    def __exit__(self, *_: object) -> None:
        """Stop every process, the last started first; kill what does not go."""
        while self._children:
            process = self._children.pop().process
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
            _kill_group(process)  # itself if it did not go, and workers that outlived it
            process.wait()

    def start(
        self,
        name: str,
        command: list[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        scratch: Path | None = None,
    ) -> None:
        """Start a process in a folder; what it prints goes to `NAME.log`, and `scratch` is emptied before."""
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{name}.log"
        log.unlink(missing_ok=True)
        own = {**self._environment, **(environment or {})}
        self._children.append(Child(name, command, folder, own, log, scratch))

    def check(self) -> None:
        """Bring back processes that ended, each after a pause, and turn over full logs; to be called again and again.

        Raises:
            StackError: A process ended at its start, or over and over.
        """
        for child in self._children:
            turn_over(child.log)
            if child.process.poll() is not None:
                self._mend(child, time.monotonic())

    def wait(self, happened: Callable[[], bool], seconds: float, late: str) -> None:
        """Check the processes until something has happened.

        Raises:
            StackError: As of `check`, or `late`, since so many seconds were not enough.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            if happened():
                return
            time.sleep(POLL_S)
        raise StackError(late)

    def watch(self, seconds: float = math.inf) -> None:
        """Check the processes for so long; raises as `check` does."""
        deadline = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= deadline, math.inf, "")

    @property
    def pids(self) -> dict[str, int]:
        """The ids of the processes by their names."""
        return {child.name: child.process.pid for child in self._children}

    @staticmethod
    def _mend(child: Child, now: float) -> None:
        if child.ended_at is None:
            _kill_group(child.process)  # its workers hold what the next one needs
            steady = now - child.started_at >= STEADY_S
            if not steady and child.attempts in {0, ATTEMPTS}:
                raise StackError(f"{child.name} stopped: {last_line(child.log)} (its log: {child.log})")
            child.attempts = 1 if steady else child.attempts + 1
            child.ended_at = now
        if now - child.ended_at >= FIRST_PAUSE_S * 2 ** (child.attempts - 1):
            child.run()


def turn_over(log: Path) -> None:
    """Copy a full log and truncate it, because the process keeps writing to the same file."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size < LOG_BYTES:
            return
        old = log.with_suffix(".log.1")
        try:
            with log.open("rb") as full, old.open("wb") as copy:
                full.seek(-LOG_BYTES, os.SEEK_END)  # a burst may have made it larger
                shutil.copyfileobj(full, copy)
        except OSError:  # no room for both
            old.unlink(missing_ok=True)
        os.truncate(log, 0)


def last_line(log: Path) -> str:
    """Return the last line with text in a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
