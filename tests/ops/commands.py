"""The shell commands that README and the pages of `docs/` tell readers to run."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

SHELLS = {"bash", "console", "sh", "shell"}
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
GOES_ON = ("\\", "|", "&&", "||")


@dataclass(frozen=True)
class Listed:
    """`commands.yaml`: commands by status, by test and by reason."""

    curl: Mapping[int, list[str]]
    tests: Mapping[str, list[str]]
    not_run: Mapping[str, list[str]]

    def commands(self) -> list[str]:
        """All that are listed one by one."""
        return [each for group in (self.curl, self.tests, self.not_run) for found in group.values() for each in found]


def listed() -> Listed:
    """Read the list."""
    return Listed(**yaml.safe_load(Path(__file__).with_name("commands.yaml").read_text(encoding="utf-8")))


def pages() -> list[Path]:
    """README and every page of the documentation."""
    return [Path("README.md"), *sorted(Path("docs").rglob("*.md"))]


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page: their languages and what is in them."""
    for block in FENCE.finditer(text):
        yield block["language"].strip(), textwrap.dedent(block["body"])


def documented(text: str) -> list[str]:
    """The commands in the shell blocks of a page, in their order."""
    return [command for language, body in blocks(text) if language in SHELLS for command in commands(body)]


def commands(script: str) -> Iterator[str]:
    """The commands of a script, each in one line, without comments; one ends where its quotes and pipes do."""
    begun = ""
    for line in script.splitlines():
        said, quoted = _without_comment(f"{begun}{line}")
        if quoted:
            begun = f"{said}\n"
        elif said.endswith(GOES_ON):
            begun = f"{said.removesuffix(chr(92)).rstrip()} "
        else:
            begun = ""
            if said:
                yield re.sub(r" {2,}", " ", said)
    assert not begun, f"this does not end: {begun}"


def _without_comment(line: str) -> tuple[str, bool]:
    """A line up to its comment, and whether a quote is open at its end."""
    quote = ""
    for index, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and line[index - 1 : index] in {"", " "}:
            return line[:index].strip(), False
    return (line if quote else line.strip()), bool(quote)
