"""Processes that end by themselves are brought back, and those that cannot run are reported."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.layout import StackError
from deploy.local.supervisor import ATTEMPTS, Supervisor, turn_over

FAILING = "echo cannot bind; exit 3"


def start(supervisor: Supervisor, folder: Path, script: str, scratch: Path | None = None) -> None:
    supervisor.start("gateway", ["sh", "-c", script], folder, scratch=scratch)


def checked_until(supervisor: Supervisor, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        supervisor.check()
        time.sleep(0.01)


def reported(supervisor: Supervisor) -> str:
    with pytest.raises(StackError) as report:
        checked_until(supervisor, lambda: False)
    return str(report.value)


def started(folder: Path) -> list[int]:
    """The ids of the processes, which they write to the log; a test run has other children too."""
    lines = (folder / "gateway.log").read_text().splitlines()
    return [int(line.removeprefix("started ")) for line in lines if line.startswith("started ")]


def alive(process: psutil.Process) -> bool:
    """Whether a process still does anything; its parent may not have taken note of its end yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.supervisor.STEADY_S", 0)
    monkeypatch.setattr("deploy.local.supervisor.FIRST_PAUSE_S", 0.05)


def test_a_process_that_ends_at_its_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with Supervisor(tmp_path, os.environ) as supervisor:
        start(supervisor, tmp_path, FAILING)
        assert reported(supervisor) == f"gateway stopped: cannot bind (its log: {tmp_path / 'gateway.log'})"
        assert reported(supervisor).startswith("gateway stopped")  # and is not tried again


@pytest.mark.usefixtures("hasty")
def test_a_process_that_was_steady_is_brought_back_and_its_log_goes_on(tmp_path: Path) -> None:
    with Supervisor(tmp_path, os.environ) as supervisor:
        start(supervisor, tmp_path, "echo started $$; exec sleep 60")
        for count in (1, 2, 3):
            checked_until(supervisor, lambda count=count: len(started(tmp_path)) == count)  # type: ignore[misc]
            psutil.Process(started(tmp_path)[-1]).kill()
    assert not any(map(psutil.pid_exists, started(tmp_path)))


@pytest.mark.usefixtures("hasty")
def test_the_pauses_double_while_it_does_not_stay_up_and_then_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Supervisor(tmp_path, os.environ) as supervisor:
        start(supervisor, tmp_path, f"echo started $$; date +%s%N >> times; {FAILING}")
        checked_until(supervisor, lambda: len(started(tmp_path)) == 2)
        monkeypatch.setattr("deploy.local.supervisor.STEADY_S", 60)
        assert "cannot bind" in reported(supervisor)
    times = [int(line) / 1e9 for line in (tmp_path / "times").read_text().split()]
    assert len(times) == 1 + ATTEMPTS
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert [pause >= 0.05 * 2**number for number, pause in enumerate(pauses)] == [True] * ATTEMPTS


@pytest.mark.usefixtures("hasty")
def test_what_outlived_a_killed_process_is_cleared_away_before_the_next(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with Supervisor(tmp_path, os.environ) as supervisor:
        script = f"touch {scratch}/$$; sleep 60 & echo started $$; wait"
        start(supervisor, tmp_path, script, scratch)
        checked_until(supervisor, lambda: len(started(tmp_path)) == 1)
        killed = psutil.Process(started(tmp_path)[0])
        first = [killed, *killed.children()]
        killed.kill()
        checked_until(supervisor, lambda: len(started(tmp_path)) == 2)
        assert [alive(process) for process in first] == [False, False]
        assert [path.name for path in scratch.iterdir()] == [str(started(tmp_path)[1])]


def test_a_full_log_is_turned_over_while_the_process_goes_on_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.supervisor.LOG_BYTES", 10_000)
    log, old = tmp_path / "gateway.log", tmp_path / "gateway.log.1"
    with Supervisor(tmp_path, os.environ) as supervisor:
        start(supervisor, tmp_path, "i=0; while sleep 0.01; do i=$((i+1)); echo $i $(printf %0300d 0); done")
        checked_until(supervisor, old.exists)
        first = old.read_text()
        checked_until(supervisor, lambda: old.read_text() != first)
        checked_until(supervisor, lambda: "0" in log.read_text())
        assert log.stat().st_size + old.stat().st_size < 40_000
        assert {file.name for file in tmp_path.iterdir()} == {"gateway.log", "gateway.log.1"}


def test_a_full_log_is_emptied_where_there_is_no_room_for_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deploy.local.supervisor.LOG_BYTES", 10)
    monkeypatch.setattr("shutil.copyfileobj", full)
    log = tmp_path / "gateway.log"
    log.write_text("more than ten bytes")
    turn_over(log)
    assert log.read_text() == ""
    assert list(tmp_path.iterdir()) == [log]
