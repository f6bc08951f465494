from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.command.__main__ import main
from tests.gateway.client.wire import Gateway
from tests.gateway.command.service import served


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def service() -> Gateway:
    return Gateway()


@pytest.fixture
def url(service: Gateway) -> Iterator[str]:
    with served(service) as address:
        yield address


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("DETECTOR_")] + ["NO_COLOR", "FORCE_COLOR", "COLUMNS"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process."""

    def run(*words: str) -> Ended:
        try:
            code = main(words)
        except SystemExit as error:  # argparse's own
            code = int(error.code or 0)
        sys.stdout.flush()
        return Ended(code, *capfd.readouterr())

    return run


@pytest.fixture
def check(command: Command, url: str) -> Command:
    """Run `check` against the service."""
    return lambda *words: command("check", "--url", url, *words)


@pytest.fixture
def listings(tmp_path: Path) -> Path:
    """A folder with three photos, one of them broken and one further down, and with what is no photo."""
    folder = tmp_path / "listings"
    (folder / "more").mkdir(parents=True)
    (folder / ".thumbnails").mkdir()
    for name, content in {
        "b.JPG": b"87",
        "a.png": b"12",
        "more/c.webp": b"broken",
        "notes.txt": b"99",
        ".hidden.jpg": b"99",
        ".thumbnails/a.png": b"99",
    }.items():
        (folder / name).write_bytes(content)
    return folder
