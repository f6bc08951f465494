"""The curl commands of README and `docs/`, sent to the real stack as they stand there."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stack.local import LocalStack
from tests.e2e.shell import Shell, needs_curl
from tests.ops.commands import blocks, commands, listed

pytestmark = needs_curl
CURL = [(status, command) for status, found in listed().curl.items() for command in found]
TIMES = {"inference_time_ms", "total_inference_time_ms"}


@pytest.fixture
def shell(stack: LocalStack, coffee: Path, tmp_path: Path) -> Shell:
    """A folder with all files that the commands send; `photo.png` is the demo's sample."""
    for name in ("photo.png", "photo2.png"):
        shutil.copy(coffee, tmp_path / name)
    with Image.open(coffee) as image:
        for name in ("product_photo.jpg", "photo1.jpg"):
            image.convert("RGB").save(tmp_path / name)
    (tmp_path / "docker" / "secrets").mkdir(parents=True)
    (tmp_path / "docker" / "secrets" / "api_key").write_text("any, for this stack asks for none")
    (tmp_path / "notes.txt").write_text("no picture\n")
    return Shell(tmp_path, stack.gateway_url, {"API_KEY": "any, for this stack asks for none"})


@pytest.mark.parametrize(("status", "command"), CURL)
def test_a_documented_request_gets_its_status(status: int, command: str, shell: Shell) -> None:
    done = shell.run(command)
    assert (done.returncode, done.stderr) == (0, str(status))


def test_the_heat_map_command_writes_a_picture(shell: Shell) -> None:
    [command] = [command for _, command in CURL if "heatmap.jpg" in command]
    shell.run(command)
    with Image.open(shell.folder / "heatmap.jpg") as heatmap:
        assert (heatmap.format, heatmap.size) == ("JPEG", (512, 341))


def test_readme_shows_what_the_stack_answers(shell: Shell) -> None:
    """Times differ, and a probability by what kinds of processors do."""
    found = list(blocks(Path("README.md").read_text(encoding="utf-8")))
    shown = [
        (command, json.loads(answer))
        for (language, script), (kind, answer) in pairwise(found)
        if (language, kind) == ("bash", "json")
        for command in commands(script)
    ]
    assert len(shown) == 1
    for command, answer in shown:
        assert _comparable(json.loads(shell.run(command).stdout)) == _comparable(answer)


def _comparable(answer: dict[str, Any]) -> dict[str, Any]:
    verdicts = [answer, *answer.get("results", [])]
    for verdict in verdicts:
        if verdict.get("probability") is not None:
            verdict["probability"] = pytest.approx(verdict["probability"], abs=0.005)
    return {name: value for name, value in answer.items() if name not in TIMES}


def test_the_commands_send_only_to_the_gateway() -> None:
    addresses = {address for _, command in CURL for address in re.findall(r"(?:https?://)?[\w.]+:\d+", command)}
    assert addresses == {"http://127.0.0.1:8080", "localhost:8080"}
