"""The command `product-photo-detector`: which subcommand runs, and how any of them ends."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from cli import check_options, keys_options
from cli.exits import CommandError, Exit

NAME = "product-photo-detector"
DISTRIBUTION = "ai-product-photo-detector"
FORWARDED = {"serve": "stack.demo", "models": "stack.versions"}
"""Commands that another module parses and runs."""
EXAMPLES = """\
examples:
  product-photo-detector serve
  product-photo-detector check photo.jpg
  product-photo-detector check listings/ --csv > verdicts.csv
  product-photo-detector keys new shop --file keys.json
  product-photo-detector models list

Each command has a --help of its own.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    try:
        code = _run(sys.argv[1:] if words is None else list(words))
        sys.stdout.flush()
    except CommandError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # What is still in the buffer must not meet the closed pipe again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PIPE_CLOSED
    except OSError as error:
        return _fail(
            f"{error.strerror or type(error).__name__}: free some space or fix the permissions, then try again"
        )
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return Exit.STOPPED
    return code


def _run(words: list[str]) -> int:
    parser = _parser()
    # Heavy imports come with the command that needs them, so that --help and --version come at once.
    if words and words[0] in FORWARDED:
        importlib.import_module(FORWARDED[words[0]]).main(words[1:], f"{NAME} {words[0]}")
        return Exit.DONE
    arguments = parser.parse_args(words)
    return int(importlib.import_module(f"cli.{arguments.command}").run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Tells whether product photos are real photographs or AI-generated.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{NAME} {version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check_options.add(commands)
    commands.add_parser("serve", help="start everything on this machine and serve until Ctrl-C (what make demo runs)")
    keys_options.add(commands)
    commands.add_parser("models", help="list model versions, promote one, or roll back")
    return parser


def version() -> str:
    """Return the project's version: from its checkout, else from the installed package."""
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    if pyproject.is_file():
        return str(tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["version"])
    return metadata.version(DISTRIBUTION)


def _fail(text: str) -> int:
    print(f"{NAME}: {text}", file=sys.stderr)
    return Exit.USAGE
