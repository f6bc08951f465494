"""docs/command-line.md tells of what there is."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields

from cli import check_options, keys_options
from cli.exits import Exit
from cli.photos import SUFFIXES
from cli.rows import Row
from stack.layout import ROOT

PAGE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings} - {"-h", "--help"}  # noqa: SLF001


def added(module: object) -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser().add_subparsers()
    module.add(commands)  # type: ignore[attr-defined]
    return next(iter(commands.choices.values()))


def section(title: str) -> str:
    return PAGE.partition(f"\n{title}")[2].partition("\n## ")[0]


def test_every_option_of_check_is_in_its_table() -> None:
    told = re.findall(r"^\| (`-.*?) \|", section("## `check`"), re.MULTILINE)
    assert set(re.findall(r"(?<=`)--?[a-z-]+", " ".join(told))) == options(added(check_options))


def test_every_option_of_keys_new_is_told() -> None:
    (_, new) = added(keys_options)._actions  # noqa: SLF001
    assert isinstance(new, argparse._SubParsersAction)  # noqa: SLF001
    assert options(new.choices["new"]) - set(re.findall(r"`(--[a-z]+)`", section("## `keys new`"))) == set()


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
