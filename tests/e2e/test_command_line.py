"""Every command in the documentation of the command line, in a shell, against the real stack."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.layout import ROOT
from deploy.local.stack import LocalStack
from tests.e2e.processes import running_gateway

PAGE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
ELSEWHERE = {
    "product-photo-detector serve": "tests/e2e/test_demo.py",
    "product-photo-detector models promote 1.3.0": "tests/gateway/command/test_main.py",
    "product-photo-detector models rollback": "tests/gateway/command/test_main.py",
}
"""What would disturb the other tests' stack, and the test that runs it on one of its own."""
# The command and make as a user has them, with this stack's places in the place of the defaults.
SHELL = """
set -o pipefail
product-photo-detector() {
  case $1 in
    models) "$PYTHON" -m gateway.command "$@" --var "$VAR" --store "$STORE" ;;
    *) "$PYTHON" -m gateway.command "$@" ;;
  esac
}
make() { command make --no-print-directory --old-file=install --makefile "$ROOT/Makefile" RUN="$PYTHON" "$@"; }
"""
EXIT_CODES = {"predict-batch": 2, "listings": 3}
"""By what is in the command: one of the listings is broken, and make has a code of its own."""


@pytest.fixture
def places(tmp_path: Path, coffee: Path) -> Path:
    """A folder with the files that the page speaks of; one of its three listings is broken."""
    (tmp_path / "listings" / "more").mkdir(parents=True)
    for name in ("photo.jpg", "listings/one.jpg", "listings/more/two.jpg"):
        (tmp_path / name).write_bytes(coffee.read_bytes())
    (tmp_path / "listings" / "broken.jpg").write_bytes(b"broken")
    (tmp_path / "shop.key").write_text("any key\n")
    return tmp_path


@pytest.fixture
def environment(stack: LocalStack) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "ROOT": str(ROOT),
        "VAR": str(stack.layout.var),
        "STORE": str(stack.layout.store),
        "URL": stack.gateway_url,
        "DETECTOR_URL": stack.gateway_url,
    }


def shell(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-c", f"{SHELL}\n{command}"]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ELSEWHERE])
def test_each_command_of_the_documentation_runs(command: str, places: Path, environment: dict[str, str]) -> None:
    if "--rotate" in command:
        assert shell("product-photo-detector keys new shop --file keys.json", places, environment).returncode == 0
    if "--fail-on" in command:
        said = shell("product-photo-detector check photo.jpg --json", places, environment)
        expected = int(json.loads(said.stdout)["prediction"] == "ai_generated")
    else:
        expected = next((code for word, code in EXIT_CODES.items() if word in command), 0)
    ended = shell(command, places, environment)
    assert ended.returncode == expected, ended.stderr


@contextmanager
def keyed(folder: Path, stack: LocalStack) -> Iterator[str]:
    """A gateway that wants a key of the folder's file."""
    settings = {
        "GATEWAY_TORCHSERVE_URL": stack.inference_url,
        "GATEWAY_TORCHSERVE_KEY_FILE": str(stack.layout.key_file),
        "API_KEYS_FILE": str(folder / "keys.json"),
    }
    with running_gateway(folder / "gateway.log", **settings) as gateway:
        yield gateway.url


def test_a_new_key_opens_a_running_gateway_and_another_does_not(
    places: Path, environment: dict[str, str], stack: LocalStack
) -> None:
    new = "product-photo-detector keys new"
    shell(f"{new} other --file keys.json > other.key", places, environment)
    with keyed(places, stack) as url:
        environment["DETECTOR_URL"] = url
        check = "product-photo-detector check photo.jpg --quiet"
        assert shell(check, places, environment).returncode == 5
        assert shell(f"{check} --api-key-file shop.key", places, environment).returncode == 5
        shell(f"{new} shop --file keys.json --predict 1 > shop.key", places, environment)
        ended = shell(f"{check} --api-key-file shop.key --csv", places, environment)
        assert (ended.returncode, ended.stdout.count("\n")) == (0, 2)
        ended = shell(f"{check} --api-key-file shop.key --patience 1", places, environment)
        assert ended.returncode == 4  # the rate that the key was made with
        assert "At most 1 requests a minute." in ended.stderr
    assert (places / "shop.key").read_text().strip() not in (places / "gateway.log").read_text()
