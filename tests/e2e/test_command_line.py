"""Every command in the documentation of the command line, in a shell, against the real stack."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from deploy.layout import ROOT
from deploy.local.stack import LocalStack
from tests.e2e.shell import Shell
from tests.pages import documented

COMMANDS = documented((ROOT / "docs" / "command-line.md").read_text(encoding="utf-8"))
ELSEWHERE = {
    "product-photo-detector serve": "tests/e2e/test_demo.py",
    "product-photo-detector models promote 1.3.0": "tests/e2e/test_versions.py",
    "product-photo-detector models rollback": "tests/e2e/test_versions.py",
}
"""What would disturb the other tests' stack, and the test that runs it on one of its own."""
# The command and make as a user has them, with this stack's places in the place of the defaults.
FUNCTIONS = """
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
def shell(stack: LocalStack, places: Path) -> Shell:
    variables = {
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "ROOT": str(ROOT),
        "VAR": str(stack.layout.var),
        "STORE": str(stack.layout.store),
        "URL": stack.gateway_url,
        "DETECTOR_URL": stack.gateway_url,
    }
    return Shell(places, stack.gateway_url, variables)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ELSEWHERE])
def test_each_command_of_the_documentation_runs(command: str, shell: Shell) -> None:
    def run(command: str) -> CompletedProcess[str]:
        return shell.run(f"{FUNCTIONS}\n{command}")

    if "--rotate" in command:
        run("product-photo-detector keys new shop --file keys.json").check_returncode()
    if "--fail-on" in command:
        said = run("product-photo-detector check photo.jpg --json")
        expected = int(json.loads(said.stdout)["prediction"] == "ai_generated")
    else:
        expected = next((code for word, code in EXIT_CODES.items() if word in command), 0)
    ended = run(command)
    assert ended.returncode == expected, ended.stderr
