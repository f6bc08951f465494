"""The command as a whole: its help, its version, and what it hands on to the local stack."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli import main
from stack import versions
from stack.layout import ROOT, Layout
from stack.model_api import ModelApi
from tests.cli.conftest import Command
from tests.stack.fake_torchserve import NAME, FakeTorchServe, pack

LIGHT = """
import sys
from cli.main import main
try:
    main(["--version"])
except SystemExit:
    print(*sorted({"httpx", "rich", "gateway", "stack"} & set(sys.modules)))
"""


def test_the_version_is_the_projects(command: Command) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert command("--version").out == f"product-photo-detector {version}\n"


@pytest.mark.parametrize("words", [[], ["check"], ["serve"], ["keys"], ["keys", "new"], ["models"]])
def test_every_command_has_help(command: Command, words: list[str]) -> None:
    ended = command(*words, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(" ".join(["usage: product-photo-detector", *words]))


def test_help_shows_examples_and_exit_codes(command: Command) -> None:
    assert "\nexamples:\n  product-photo-detector serve\n" in command("--help").out
    assert "\nexit codes: 0 all predicted; 1 one matches --fail-on; 2 usage;" in command("check", "--help").out


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    run = subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.splitlines()[1:] == [""]


@pytest.mark.parametrize("words", [[], ["chekc"], ["keys", "old"]])
def test_an_unknown_command_ends_with_2(command: Command, words: list[str]) -> None:
    assert command(*words).code == 2


def test_serve_is_the_demo(command: Command, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit, match=f"^demo: port {port} \\(gateway\\) is in use"):
            main.main(["serve", "--gateway-port", port, "--photo", __file__, "--var", str(tmp_path)])
    assert capfd.readouterr().out == ""
    assert "usage: product-photo-detector serve" in command("serve", "--help").out


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that lead to a running TorchServe, a fake one, with two versions in its store."""
    layout = Layout(var=tmp_path / "var", store=tmp_path)
    layout.torchserve.mkdir(parents=True)
    layout.config.write_text(f"load_models={NAME}.mar\n")
    pack(tmp_path / f"{NAME}.mar", "1.1.0")
    pack(tmp_path / f"{NAME}-1.2.0.mar", "1.2.0")
    torchserve = FakeTorchServe(tmp_path)
    torchserve.polls_until_ready = 0

    @contextmanager
    def connect(_layout: Layout) -> Iterator[ModelApi]:
        yield torchserve.api()

    monkeypatch.setattr(versions, "connected", connect)
    return ["--var", str(layout.var), "--store", str(tmp_path)]


def test_models_are_listed_promoted_and_rolled_back(command: Command, store: list[str]) -> None:
    assert "1.1.0" in command("models", "list", *store).out
    assert command("models", "promote", "1.2.0", *store).out.startswith("live: 1.2.0, with 2 workers\n")
    ended = command("models", "rollback", *store)
    assert (ended.code, ended.out.splitlines()[0]) == (0, "live: 1.1.0, with 2 workers")


def test_the_options_of_another_command_are_none_of_this_one(command: Command) -> None:
    assert command("check", "photo.jpg", "--var", "x").code == 2


def test_forwarded_commands_are_in_the_parser() -> None:
    parser = main._parser()  # noqa: SLF001 - help and dispatch must agree
    (commands,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    assert set(main.FORWARDED) < set(commands.choices)
