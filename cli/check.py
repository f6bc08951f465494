"""`check`: photos through a running gateway, one row each."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from cli.check_options import KEY_FILE_VARIABLE, KEY_VARIABLE
from cli.exits import CommandError, Exit
from cli.heatmaps import Heatmaps
from cli.output import writer
from cli.photos import Source, find
from cli.progress import reporting
from cli.rows import Tally, row_of
from gateway.client import Client, GatewayError, KeyRefusedError

USER_AGENT = "product-photo-command"


def run(arguments: argparse.Namespace) -> int:
    """Predict the images; return the exit code."""
    sources = find(arguments.photos)
    tally = Tally(arguments.fail_on)
    try:
        with _client(arguments) as client:
            client.alive()  # a service that is not there is told at once, before any photo
            _judge(client, sources, arguments, tally)
    except GatewayError as error:
        _tell(f"{error} The address is {_address(arguments.url)}.")
        return Exit.KEY_REFUSED if isinstance(error, KeyRefusedError) else Exit.UNREACHABLE
    except KeyboardInterrupt:
        _tell(f"stopped: {tally.count} of {len(sources)} images have a prediction")
        return Exit.STOPPED
    if not arguments.quiet:
        _tell(tally.summary())
    if tally.advice:
        _tell(tally.advice)
    return tally.exit()


def _judge(client: Client, sources: list[Source], arguments: argparse.Namespace, tally: Tally) -> None:
    heatmaps = Heatmaps(arguments.explain) if arguments.explain else None
    with (
        writer(arguments.form, evidence=arguments.evidence) as out,
        reporting(len(sources), quiet=arguments.quiet, rows_come=arguments.form != "table") as report,
    ):
        outcomes = client.check(
            [source.photo for source in sources],
            # A single photo is timed; in a batch only the whole is.
            batch_size=1 if len(sources) == 1 else arguments.batch_size,
            explain=heatmaps is not None,
            evidence=arguments.evidence,
            patience_s=arguments.patience,
            on_wait=report.waiting,
        )
        for source, outcome in zip(sources, outcomes, strict=True):
            tally.add(outcome)
            out.write(row_of(source.name, outcome, heatmaps.save(source.name, outcome) if heatmaps else None))
            report.advance()


def _address(url: str) -> str:
    """Leave out a password that is in the address."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _client(arguments: argparse.Namespace) -> Client:
    try:
        return Client(arguments.url, _key(arguments), timeout_s=arguments.timeout, user_agent=USER_AGENT)
    except ValueError as error:
        raise CommandError(f"--url: {error}") from error


def _key(arguments: argparse.Namespace) -> str:
    file = arguments.api_key_file or os.environ.get(KEY_FILE_VARIABLE)
    if not file or (not arguments.api_key_file and os.environ.get(KEY_VARIABLE)):
        return os.environ.get(KEY_VARIABLE, "")
    try:
        return Path(file).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError("the file of the API key cannot be read: see that it is there and holds a key") from error


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
