"""The command in a shell: pipes, signals, terminals and names of any bytes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.layout import ROOT
from tests.gateway.client.wire import Gateway
from tests.gateway.command.service import served

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "gateway.command"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


class Slow(Gateway):
    """Holds every batch but the first until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.held = threading.Event()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if len(self.asked) == 1:
            self.held.set()
            self.go_on.wait(30)
        return super().__call__(request)


@pytest.fixture
def slow() -> Iterator[Slow]:
    service = Slow()
    yield service
    service.go_on.set()


@pytest.fixture
def photos() -> list[str]:
    for number in range(4):
        Path(f"{number}.jpg").write_bytes(b"12")
    return [f"{number}.jpg" for number in range(4)]


def start(*words: str, **options: Any) -> subprocess.Popen[str]:  # noqa: ANN401 - any of Popen's
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([*COMMAND, *words], text=True, env=ENVIRONMENT, **streams)


def test_rows_come_one_by_one_and_ctrl_c_ends_it_cleanly(slow: Slow, photos: list[str]) -> None:
    with served(slow) as url, start("check", *photos, "--csv", "--batch-size", "2", "--url", url) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert slow.held.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert [line[:6] for line in lines] == ["photo,", "0.jpg,", "1.jpg,"]
        assert (process.stdout.read(), process.stderr.read()) == ("", "stopped: 2 of 4 images have a prediction\n")
        slow.go_on.set()


def test_ctrl_c_still_shows_the_table_of_what_was_predicted(slow: Slow, photos: list[str]) -> None:
    with served(slow) as url, start("check", *photos, "--batch-size", "2", "--url", url) as process:
        assert slow.held.wait(30)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        slow.go_on.set()
    assert [line.split("│")[1].strip() for line in out.splitlines() if line.startswith("│")] == photos[:2]


@pytest.mark.parametrize("form", ["--csv", "--json", "--quiet"])
def test_a_reader_that_goes_away_ends_it_without_a_word(url: str, photos: list[str], form: str) -> None:
    read, write = os.pipe()
    os.close(read)
    with start("check", *photos, form, "--quiet", "--url", url, stdout=write) as process:
        os.close(write)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, "")


def test_a_photo_comes_through_a_pipe(url: str) -> None:
    Path("photo.jpg").write_bytes(b"87")
    with Path("photo.jpg").open("rb") as photo, start("check", "-", "--json", "--url", url, stdin=photo) as process:
        out, _ = process.communicate(timeout=30)
    assert out.startswith('{"photo": "-", "prediction": "ai_generated", "probability": 0.87,')


def test_a_name_that_is_no_text_comes_out_as_it_is(url: str) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    Path(name).write_bytes(b"12")
    words = [*COMMAND, "check", name, "--csv", "--url", url]
    run = subprocess.run(words, check=True, capture_output=True, env=ENVIRONMENT | {"LC_ALL": "C.UTF-8"})
    assert run.stdout.splitlines()[1].startswith(os.fsencode(name) + b",real,0.12,")


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_a_bar_that_leaves_nothing_behind_and_colours_if_it_wants_them(
    url: str, photos: list[str], no_color: str
) -> None:
    ours, theirs = pty.openpty()
    environment = ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "100", "NO_COLOR": no_color}
    words = [*COMMAND, "check", *photos, "--batch-size", "2", "--url", url]
    with subprocess.Popen(words, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = _read_all(ours)
        assert process.wait(30) == 0
    assert b"4/4" in said
    assert (b"\x1b[32mreal" in said) is not bool(no_color)
    assert said.endswith(b"4 photos: 0 ai_generated, 4 real\r\n")


def _read_all(terminal: int) -> bytes:
    said = b""
    try:
        while data := os.read(terminal, 65_536):
            said += data
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(terminal)
    return said
