"""The shell commands in README and the pages of `docs/`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
GOES_ON = re.compile(r"(?:\\|(?<=\|)|(?<=&&))\n\s*")


def pages() -> list[Path]:
    """README and every page of the documentation."""
    return [Path("README.md"), *sorted(Path("docs").rglob("*.md"))]


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page: their languages and what is in them."""
    for block in FENCE.finditer(text):
        yield block["language"].strip(), textwrap.dedent(block["body"])


def documented(text: str) -> list[str]:
    """The commands in the `bash` blocks of a page, each in one line."""
    scripts = [GOES_ON.sub(" ", body) for language, body in blocks(text) if language == "bash"]
    return [line.strip() for script in scripts for line in script.splitlines() if line.strip()]
