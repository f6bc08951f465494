"""Arguments of `check` and `keys`, and the exit codes."""

import argparse
import math
import os
import re
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no other name for it

URL_VARIABLE = "DETECTOR_URL"
KEY_VARIABLE = "DETECTOR_API_KEY"
KEY_FILE_VARIABLE = "DETECTOR_API_KEY_FILE"
DEFAULT_URL = "http://127.0.0.1:8080"
EXAMPLES = """\
examples:
  product-photo-detector check photo.jpg
  product-photo-detector check listings/ more/*.png --csv > verdicts.csv
  product-photo-detector check 'listings/**/*.jpg' --json | jq -r 'select(.prediction == "ai_generated") | .photo'
  product-photo-detector check photo.jpg --explain heatmaps/
  cat photo.jpg | product-photo-detector check - --fail-on ai_generated

The API key is never an argument, where other users could read it: it comes from the environment
(DETECTOR_API_KEY) or from a file (--api-key-file, DETECTOR_API_KEY_FILE).

exit codes: 0 all predicted; 1 one matches --fail-on; 2 usage; 3 one has no prediction;
4 the service was unreachable; 5 the API key was refused; 130 Ctrl-C; 141 the reader of the output is gone
"""
ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
BUCKETS = ("predict", "batch", "explain")
KEYS_EXAMPLES = """\
examples:
  product-photo-detector keys new shop
  product-photo-detector keys new shop --file keys.json > shop.key
  product-photo-detector keys new shop --file keys.json --predict 120 --batch 20
  product-photo-detector keys new shop --file keys.json --rotate

The key alone goes to stdout, what to do with it to stderr. The file has its SHA-256 and never the key; a gateway
with API_KEYS_FILE=keys.json takes the new key with its next request, without a restart.
"""


def add_check(commands: "Commands") -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "check",
        help="predict images through a running gateway",
        description="Predict images through a running gateway, in batches and within its rates.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="an image, a folder, a quoted pattern, or - (stdin)")
    output = parser.add_argument_group("output, on stdout")
    form = output.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_const", dest="form", const="json", help="one JSON object per line and image"
    )
    form.add_argument("--csv", action="store_const", dest="form", const="csv", help="one row per image, as they arrive")
    parser.set_defaults(form="table")
    output.add_argument("--explain", type=Path, metavar="FOLDER", help="write a heat map per image into this folder")
    output.add_argument("--evidence", action="store_true", help="include what the files say about their origin")
    output.add_argument("--fail-on", choices=["ai_generated"], help="exit with 1 if an image is AI-generated")
    output.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary on stderr")
    gateway = parser.add_argument_group("gateway")
    gateway.add_argument(
        "--url",
        default=os.environ.get(URL_VARIABLE) or DEFAULT_URL,
        help=f"the gateway's address (default: ${URL_VARIABLE}, else {DEFAULT_URL})",
    )
    gateway.add_argument("--api-key-file", type=Path, metavar="FILE", help="a file whose first line is the API key")
    gateway.add_argument(
        "--batch-size", type=_count, metavar="N", help="images per request (default: what the gateway accepts)"
    )
    gateway.add_argument(
        "--timeout", type=_seconds, default=60, metavar="S", help="seconds to wait for one response (default: 60)"
    )
    gateway.add_argument(
        "--patience",
        type=_seconds,
        default=120,
        metavar="S",
        help="total seconds to wait for a batch while the gateway is busy, restarting or over its rate (default: 120)",
    )


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError("must be a whole number of at least 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return seconds


def add_keys(commands: "Commands") -> None:
    """Describe the command."""
    parser = commands.add_parser("keys", help="create API keys")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser(
        "new",
        help="create a key for a client",
        description="Create an API key for a client of the gateway.",
        epilog=KEYS_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new.add_argument("id", type=_id, metavar="CLIENT", help="the client's name in logs and counters")
    new.add_argument("--file", type=Path, metavar="FILE", help="add the key to this file of API_KEYS_FILE")
    new.add_argument("--rotate", action="store_true", help="add another key for a client that is already in the file")
    for bucket in BUCKETS:
        new.add_argument(f"--{bucket}", type=_count, metavar="N", help=f"the client's own {bucket} rate per minute")


def _id(text: str) -> str:
    if not ID.fullmatch(text):
        raise argparse.ArgumentTypeError("must be 1 to 64 letters, digits, dots, dashes or underscores")
    return text


class Exit(IntEnum):
    """How a command has ended."""

    DONE = 0
    FOUND = 1
    """At least one image is what --fail-on names."""
    USAGE = 2
    """The command cannot be run as it was given."""
    NOT_PREDICTED = 3
    """At least one image got no prediction."""
    UNREACHABLE = 4
    """The service was away, not ready or over its rate to the end."""
    KEY_REFUSED = 5
    STOPPED = 130
    """Ctrl-C, as shells say it."""
    PIPE_CLOSED = 141
    """Whoever read the output has gone, as shells say it."""


class CommandError(Exception):
    """A command failed; the message is one line that says what to do."""
