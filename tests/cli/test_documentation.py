"""docs/command-line.md tells of what there is."""

from __future__ import annotations

import re
from dataclasses import fields

from cli import check_options
from cli.exits import Exit
from cli.photos import SUFFIXES
from cli.rows import Row
from stack.layout import ROOT

PAGE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n{title}")[2].partition("\n## ")[0]


def test_every_exit_code_is_told_on_the_page_and_in_help() -> None:
    codes = {int(code) for code in Exit}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section("## `check`"), re.MULTILINE)} == codes
    helped = check_options.EXAMPLES.partition("exit codes: ")[2]
    assert {int(code) for code in re.findall(r"(\d+) ", helped)} == codes


def test_every_column_is_told() -> None:
    told = re.findall(r"^\| (`[^-].*?) \|", section("### Columns"), re.MULTILINE)
    assert {field.name for field in fields(Row)} - set(re.findall(r"`(\w+)`", " ".join(told))) == set()


def test_what_is_taken_from_a_folder_is_told() -> None:
    (row,) = re.findall(r"^\| `listings/` \|(.*)\|$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\.\w+)`", row)) == SUFFIXES
