"""`keys new`: a key for a client, and the entry by which the gateway knows it."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from cli.exits import CommandError, Exit
from cli.keys_options import BUCKETS

PREFIX = "ppd_"
"""Lets secret scanners know a key that got into a repository."""
Entries = dict[str, dict[str, Any]]


def run(arguments: argparse.Namespace) -> int:
    """Make the key; it is shown this once and kept nowhere."""
    key = PREFIX + secrets.token_urlsafe(32)
    rates = {bucket: rate for bucket in BUCKETS if (rate := getattr(arguments, bucket))}
    if arguments.file:
        file = arguments.file.resolve()  # a link stays one
        _write(file, _with_key(_read(file), arguments.id, key, rates, rotate=arguments.rotate))
        told = f"{arguments.id} is in {arguments.file}; a gateway with API_KEYS_FILE={arguments.file} takes its key now"
    else:
        entry = json.dumps(_with_key({}, arguments.id, key, rates, rotate=False))
        told = f"for the file of API_KEYS_FILE: {entry}\nor, without a name and rates of its own: API_KEYS=<the key>"
    print(told, file=sys.stderr)
    print(key)
    return Exit.DONE


def _with_key(entries: Entries, client: str, key: str, rates: dict[str, int], *, rotate: bool) -> Entries:
    digest = hashlib.sha256(key.encode()).hexdigest()
    old = entries.get(client)
    if old is None:
        return {**entries, client: {"sha256": digest, **({"rates": rates} if rates else {})}}
    if not rotate:
        raise CommandError(f"{client} already has a key: use --rotate to add another, or choose another name")
    digests = old.get("sha256") or hashlib.sha256(str(old.get("key")).encode()).hexdigest()
    several = [*([digests] if isinstance(digests, str) else digests), digest]
    kept = {name: value for name, value in old.items() if name not in {"key", "sha256"}}
    return {**entries, client: {**kept, "sha256": several, **({"rates": rates} if rates else {})}}


def _read(file: Path) -> Entries:
    try:
        entries = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        entries = None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise CommandError("the file is not a JSON object of clients; see docs/authentication.md")
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
