"""The command line: what it lists, what it tells, and one clear line when it cannot do it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.layout import ROOT, Layout, free_port
from deploy.local import versions
from deploy.torchserve.management import ModelApi
from tests.deploy.fake_torchserve import NAME, FakeTorchServe, pack

KEYS = '{"management": {"key": "managing"}, "inference": {"key": "inferring"}}'
Command = Callable[..., list[str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line against a fake TorchServe; return the lines that it prints."""
    layout = Layout(var=tmp_path / "var", store=tmp_path)
    layout.torchserve.mkdir(parents=True)
    layout.config.write_text(f"load_models={NAME}.mar\n")
    pack(tmp_path / f"{NAME}.mar", "1.1.0")
    pack(tmp_path / f"{NAME}-1.2.0.mar", "1.2.0")
    (tmp_path / f"{NAME}-broken.mar").write_bytes(b"PK")
    torchserve = FakeTorchServe(tmp_path)
    torchserve.polls_until_ready = 0

    @contextmanager
    def connect(_layout: Layout) -> Iterator[ModelApi]:
        yield torchserve.api()

    def run(*words: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["versions", *words, "--var", str(layout.var), "--store", str(tmp_path)])
        versions.main()
        return capsys.readouterr().out.splitlines()

    monkeypatch.setattr(versions, "connected", connect)
    return run


def rows(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]


def test_all_versions_are_listed_with_what_they_are(command: Command) -> None:
    assert rows(command("list")) == [
        ["1.1.0", "live", "2 of 2", f"{NAME}.mar"],
        ["1.2.0", "not loaded", "", f"{NAME}-1.2.0.mar"],
        ["?", "broken", "", f"{NAME}-broken.mar"],
    ]
    command("promote", "1.2.0")
    assert rows(command("list"))[:2] == [
        ["1.1.0", "before", "2 of 2", f"{NAME}.mar"],
        ["1.2.0", "live", "2 of 2", f"{NAME}-1.2.0.mar"],
    ]


def test_a_promotion_tells_how_to_go_back_and_how_long_it_holds(command: Command) -> None:
    assert command("promote", "1.2.0") == [
        "live: 1.2.0, with 2 workers",
        "before: 1.1.0, still loaded; `make rollback` returns to it at once",
        f"A restarted TorchServe serves 1.2.0; the next `make demo` starts with {NAME}.mar",
    ]


def test_what_cannot_be_done_is_one_clear_line(command: Command) -> None:
    with pytest.raises(SystemExit) as refused:
        command("promote", "1.1.0")
    assert refused.value.code == "promote: 1.1.0 is live already"


def run_alone(var: Path) -> tuple[int, str]:
    words = [sys.executable, "-m", "deploy.local.versions", "list", "--var", str(var)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_without_a_demo_it_says_to_start_one(tmp_path: Path) -> None:
    assert run_alone(tmp_path) == (
        1,
        f"list: no TorchServe was started in {tmp_path}/torchserve: start it with `make demo` and leave it running\n",
    )


@pytest.mark.slow
def test_when_the_demo_has_ended_it_says_to_start_it_again(tmp_path: Path) -> None:
    layout = Layout(var=tmp_path)
    layout.torchserve.mkdir()
    layout.key_file.write_text(KEYS)
    here = f"http://127.0.0.1:{free_port()}"
    layout.config.write_text(
        f"management_address=http://127.0.0.1:8086\ninference_address={here}\nmanagement_address={here}\n"
    )
    assert run_alone(tmp_path) == (
        1,
        f"list: TorchServe does not listen at {here}: start it with `make demo` and leave it running\n",
    )
