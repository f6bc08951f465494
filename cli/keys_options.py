"""Arguments of `keys`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no other name for it

ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
BUCKETS = ("predict", "batch", "explain")
EXAMPLES = """\
examples:
  product-photo-detector keys new shop
  product-photo-detector keys new shop --file keys.json > shop.key
  product-photo-detector keys new shop --file keys.json --predict 120 --batch 20
  product-photo-detector keys new shop --file keys.json --rotate

The key alone goes to stdout, what to do with it to stderr. The file has its SHA-256 and never the key; a gateway
with API_KEYS_FILE=keys.json takes the new key with its next request, without a restart.
"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser("keys", help="create API keys")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser(
        "new",
        help="create a key for a client",
        description="Create an API key for a client of the gateway.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new.add_argument("id", type=_id, metavar="CLIENT", help="the client's name in logs and counters")
    new.add_argument("--file", type=Path, metavar="FILE", help="add the key to this file of API_KEYS_FILE")
    new.add_argument("--rotate", action="store_true", help="add another key for a client that is already in the file")
    for bucket in BUCKETS:
        new.add_argument(f"--{bucket}", type=_rate, metavar="N", help=f"the client's own {bucket} rate per minute")


def _id(text: str) -> str:
    if not ID.fullmatch(text):
        raise argparse.ArgumentTypeError("must be 1 to 64 letters, digits, dots, dashes or underscores")
    return text


def _rate(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError("must be a whole number of at least 1")
    return int(text)
