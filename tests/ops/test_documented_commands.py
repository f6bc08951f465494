"""Every command in README and `docs/` is run by a test, or stands in `commands.yaml` with the reason why none does."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.ops.commands import FENCE, SHELLS, blocks, commands, documented, listed, pages

TEXTS = {str(page): page.read_text(encoding="utf-8") for page in pages()}
LISTED = listed()
DOCUMENTED = [(page, command) for page, text in TEXTS.items() for command in documented(text)]
LANGUAGES = SHELLS | {"http", "json", "nginx", "promql", "python", "text", "yaml"}
FOLDERS = ("benchmarks", "cli", "docker", "docs", "gateway", "handler", "model_store", "requirements", "stack", "tests")
MADE = "docker/secrets/"
MAKE = sorted({command for _, command in DOCUMENTED if re.match(r"(\w+=\S+ )*make ", command)})


def test_every_command_is_run_by_a_test_or_has_a_reason_not_to_be() -> None:
    known = set(LISTED.commands())
    assert [(page, command) for page, command in DOCUMENTED if command not in known] == []


def test_nothing_is_listed_twice_or_on_no_page_any_more() -> None:
    counted = Counter(LISTED.commands())
    assert [command for command, times in counted.items() if times > 1] == []
    assert set(counted) - {command for _, command in DOCUMENTED} == set()


@pytest.mark.parametrize("test", LISTED.tests)
def test_the_test_that_runs_a_command_exists(test: str) -> None:
    file, name = test.split("::")
    parsed = ast.parse(Path(file).read_text(encoding="utf-8"))
    assert name in {node.name for node in parsed.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("command", MAKE)
def test_make_can_do_what_the_pages_say(command: str) -> None:
    dry = ("bash", "-c", re.sub(r"\bmake ", "make --dry-run ", command, count=1))
    done = subprocess.run(dry, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", TEXTS)
def test_every_block_says_what_it_is(page: str) -> None:
    """So that no command hides in a block without a language, or in one that never ends."""
    assert {language for language, _ in blocks(TEXTS[page])} <= LANGUAGES
    assert re.findall(r"^ *```", FENCE.sub("", TEXTS[page]), re.MULTILINE) == []


@pytest.mark.parametrize("page", TEXTS)
def test_targets_that_the_text_names_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9-]+)", TEXTS[page])) - targets == set()


@pytest.mark.parametrize("page", TEXTS)
def test_files_that_the_text_names_exist(page: str) -> None:
    """But for what is made on the reader's machine."""
    named = set(re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]+)`", TEXTS[page]))
    assert [name for name in named if not name.startswith(MADE) and not Path(name).exists()] == []


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("one  two # three", ["one two"]),
        ("# nothing\n\n", []),
        ("a |\n  b", ["a | b"]),
        ("a \\\n  --b 1\nc", ["a --b 1", "c"]),
        ("echo 'a # b\n c'", ["echo 'a # b\n c'"]),
        ('curl "x#y"#z', ['curl "x#y"#z']),
    ],
)
def test_commands_are_read_as_a_shell_reads_them(script: str, found: list[str]) -> None:
    assert list(commands(script)) == found


def test_blocks_in_lists_are_found() -> None:
    assert documented("1. so:\n\n    ```bash\n    a b\n    ```\n") == ["a b"]
