"""The words that `check` takes."""

from __future__ import annotations

import argparse
import math
import os
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

exit codes: 0 all judged; 1 one is what --fail-on names; 2 usage; 3 one could not be judged;
4 the service was unreachable; 5 the API key was refused; 130 Ctrl-C; 141 the reader of the output has gone
"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "check",
        help="judge photos through a running gateway",
        description="Judges photos through a running gateway, in its batches and within its rates.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="a photo, a folder, a pattern in quotes, or - (stdin)"
    )
    _add_output(parser)
    _add_gateway(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output, on stdout")
    form = output.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", dest="form", const="json", help="a JSON object a line and photo")
    form.add_argument("--csv", action="store_const", dest="form", const="csv", help="a row a photo, as they come")
    parser.set_defaults(form="table")
    output.add_argument("--explain", type=Path, metavar="FOLDER", help="write a heat map a photo into this folder")
    output.add_argument("--evidence", action="store_true", help="also tell what the files say about their origin")
    output.add_argument("--fail-on", choices=["ai_generated"], help="exit with 1 when a photo is that")
    output.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary on stderr")


def _add_gateway(parser: argparse.ArgumentParser) -> None:
    gateway = parser.add_argument_group("gateway")
    gateway.add_argument(
        "--url",
        default=os.environ.get(URL_VARIABLE) or DEFAULT_URL,
        help=f"its address (default: ${URL_VARIABLE}, else {DEFAULT_URL})",
    )
    gateway.add_argument("--api-key-file", type=Path, metavar="FILE", help="a file whose first line is the API key")
    gateway.add_argument("--batch-size", type=_count, metavar="N", help="photos in a request (default: what it takes)")
    gateway.add_argument(
        "--timeout", type=_seconds, default=60, metavar="S", help="seconds for an answer (default: 60)"
    )
    gateway.add_argument(
        "--patience",
        type=_seconds,
        default=120,
        metavar="S",
        help="seconds to wait for a batch in all while it is busy, restarted or over its rate (default: 120)",
    )


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError("a number from 1 on is wanted")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError("a number of seconds above 0 is wanted")
    return seconds
