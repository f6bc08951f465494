"""The requests that README and the API's page show, sent to the real stack as they stand there."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deploy.local.stack import LocalStack
from tests.e2e.shell import Shell, needs_curl
from tests.pages import blocks, documented

pytestmark = needs_curl
README = Path("README.md").read_text(encoding="utf-8")
PAGE = Path("docs/api.md").read_text(encoding="utf-8")
CURL = sorted({command for command in documented(README) + documented(PAGE) if command.startswith("curl ")})
TIMES = {"inference_time_ms", "total_inference_time_ms"}


@pytest.fixture
def shell(stack: LocalStack, coffee: Path, tmp_path: Path) -> Shell:
    """A folder with all files that the commands send; `photo.png` is the demo's sample."""
    for name in ("photo.png", "photo2.png"):
        shutil.copy(coffee, tmp_path / name)
    with Image.open(coffee) as image:
        for name in ("product_photo.jpg", "photo1.jpg"):
            image.convert("RGB").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture\n")
    return Shell(tmp_path, stack.gateway_url, {"API_KEY": "any, for this stack asks for none"})


@pytest.mark.parametrize("command", CURL)
def test_a_documented_request_is_answered(command: str, shell: Shell) -> None:
    done = shell.run(command)
    without_shadow = "404" if "/predict/compare" in command else "200"  # tests/e2e/test_shadow.py has a version for it
    assert (done.returncode, done.stderr) == (0, without_shadow)
    if "heatmap.jpg" in command:
        with Image.open(shell.folder / "heatmap.jpg") as heatmap:
            assert heatmap.format == "JPEG"


def test_readme_shows_what_the_stack_answers(shell: Shell) -> None:
    """Its answers stand below their requests; times differ, and a probability by what kinds of processors do."""
    shown = [
        (script, json.loads(answer))
        for (language, script), (kind, answer) in pairwise(blocks(README))
        if (language, kind) == ("bash", "json")
    ]
    assert shown
    for script, answer in shown:
        assert _comparable(json.loads(shell.run(script).stdout)) == _comparable(answer)


def _comparable(answer: dict[str, Any]) -> dict[str, Any]:
    for verdict in [answer, *answer.get("results", [])]:
        if verdict.get("probability") is not None:
            verdict["probability"] = pytest.approx(verdict["probability"], abs=0.005)
    return {name: value for name, value in answer.items() if name not in TIMES}
