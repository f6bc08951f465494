"""The command `product-photo-detector`: which subcommand runs, how each ends, and `keys`, which needs no gateway."""

import argparse
import hashlib
import importlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway import read_version
from gateway.command import options

NAME = "product-photo-detector"
FORWARDED = {"serve": "deploy.local.demo", "models": "deploy.local.versions"}
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
PREFIX = "ppd_"
"""Lets secret scanners know a key that got into a repository."""
Entries = dict[str, dict[str, Any]]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    try:
        code = _run(sys.argv[1:] if words is None else list(words))
        sys.stdout.flush()
    except options.CommandError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # What is still in the buffer must not meet the closed pipe again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return options.Exit.PIPE_CLOSED
    except OSError as error:
        return _fail(
            f"{error.strerror or type(error).__name__}: free some space or fix the permissions, then try again"
        )
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return options.Exit.STOPPED
    return code


def _run(words: list[str]) -> int:
    parser = _parser()
    # Heavy imports come with the command that needs them, so that --help and --version come at once.
    if words and words[0] in FORWARDED:
        importlib.import_module(FORWARDED[words[0]]).main(words[1:], f"{NAME} {words[0]}")
        return options.Exit.DONE
    arguments = parser.parse_args(words)
    if arguments.command == "keys":
        return int(run_keys(arguments))
    return int(importlib.import_module("gateway.command.check").run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Tells whether product photos are real photographs or AI-generated.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{NAME} {read_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    options.add_check(commands)
    commands.add_parser("serve", help="start everything on this machine and serve until Ctrl-C (what make demo runs)")
    options.add_keys(commands)
    commands.add_parser("models", help="list model versions, promote one, or roll back")
    return parser


def _fail(text: str) -> int:
    print(f"{NAME}: {text}", file=sys.stderr)
    return options.Exit.USAGE


def run_keys(arguments: argparse.Namespace) -> int:
    """Make the key; it is shown this once and kept nowhere."""
    key = PREFIX + secrets.token_urlsafe(32)
    rates = {bucket: rate for bucket in options.BUCKETS if (rate := getattr(arguments, bucket))}
    if arguments.file:
        file = arguments.file.resolve()  # a link stays one
        _write(file, _with_key(_read(file), arguments.id, key, rates, rotate=arguments.rotate))
        told = f"{arguments.id} is in {arguments.file}; a gateway with API_KEYS_FILE={arguments.file} takes its key now"
    else:
        entry = json.dumps(_with_key({}, arguments.id, key, rates, rotate=False))
        told = f"for the file of API_KEYS_FILE: {entry}\nor, without a name and rates of its own: API_KEYS=<the key>"
    print(told, file=sys.stderr)
    print(key)
    return options.Exit.DONE


def _with_key(entries: Entries, client: str, key: str, rates: dict[str, int], *, rotate: bool) -> Entries:
    new = {"sha256": hashlib.sha256(key.encode()).hexdigest()} | ({"rates": rates} if rates else {})
    if (old := entries.get(client)) is None:
        return {**entries, client: new}
    if not rotate:
        raise options.CommandError(f"{client} already has a key: use --rotate to add another, or choose another name")
    digests = old.get("sha256") or hashlib.sha256(str(old.get("key")).encode()).hexdigest()
    several = [*([digests] if isinstance(digests, str) else digests), new["sha256"]]
    kept = {name: value for name, value in old.items() if name != "key"}
    return {**entries, client: {**kept, **new, "sha256": several}}


def _read(file: Path) -> Entries:
    try:
        entries = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        entries = None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise options.CommandError("the file is not a JSON object of clients; see docs/authentication.md")
    return entries


def _write(file: Path, entries: Entries) -> None:
    """Replace the file as a whole, for the gateway may read it at any moment; its rights stay as they are."""
    number, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    new = Path(name)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as out:
            out.write(json.dumps(entries, indent=2) + "\n")
        if file.exists():
            shutil.copymode(file, new)
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main())
