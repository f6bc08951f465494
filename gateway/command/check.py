"""`check`: images through a running gateway, one row each."""

import argparse
import glob
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from gateway.client import Client, Explanation, GatewayError, KeyRefusedError, Outcome
from gateway.command.options import KEY_FILE_VARIABLE, KEY_VARIABLE, CommandError, Exit
from gateway.command.output import Tally, reporting, row_of, writing

STDIN = "-"
SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp"})
"""What is taken from a folder; a file that is named is always taken."""
STDIN_STEM = "stdin"
USER_AGENT = "product-photo-command"


@dataclass(frozen=True)
class Source:
    """An image and what it is called in the output."""

    name: str
    photo: Path | bytes


def find(words: Sequence[str]) -> list[Source]:
    """Return the images in the words' order, those of a folder by name; a missing file is one that will fail.

    Raises:
        CommandError: A folder or a pattern without any image, or standard input twice or empty.
    """
    if words.count(STDIN) > 1:
        raise CommandError("standard input can be given only once")
    return [source for word in words for source in _of(word)]


def _of(word: str) -> list[Source]:
    if word == STDIN:
        return [Source(STDIN, _read_stdin())]
    if os.path.isdir(word):  # noqa: PTH112 - the name must come out as it was given
        found = list(_images(word))
    elif glob.has_magic(word) and not os.path.lexists(word):
        # A shell leaves a pattern in quotes, or without a match, to us.
        found = sorted(path for path in glob.glob(word, recursive=True) if os.path.isfile(path))  # noqa: PTH113, PTH207
    else:
        found = [word]
    if not found:
        raise CommandError(f"no photo in {word}: name a folder with {', '.join(sorted(SUFFIXES))} files, or the files")
    return [Source(name, Path(name)) for name in found]


def _images(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                path = os.path.join(place, name)  # noqa: PTH118 - the name must come out as it was given
                if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - the same
                    print(f"skipped {ascii(path)[1:-1]}: neither a file nor a folder", file=sys.stderr)
                else:
                    yield path


def _read_stdin() -> bytes:
    data = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    if not data:
        raise CommandError("standard input is empty: use it like product-photo-detector check - < photo.jpg")
    return data


class Heatmaps:
    """Names the files after their images; namesakes of one run get numbers."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._saved: Counter[str] = Counter()

    def save(self, photo: str, outcome: Outcome) -> str | None:
        """Write an image's heat map; return its path, or None if there is none."""
        if not isinstance(outcome, Explanation):
            return None
        stem = STDIN_STEM if photo == STDIN else PurePath(photo).stem
        self._saved[stem.lower()] += 1  # some file systems know no case
        number = self._saved[stem.lower()]
        path = self._folder / (f"{stem}-heatmap.jpg" if number == 1 else f"{stem}-heatmap-{number}.jpg")
        path.write_bytes(outcome.heatmap)
        return str(path)


def run(arguments: argparse.Namespace) -> int:
    """Predict the images; return the exit code."""
    sources = find(arguments.photos)
    tally = Tally(arguments.fail_on)
    try:
        with _client(arguments) as client:
            client.alive()  # a service that is not there is told at once, before any image
            _predict(client, sources, arguments, tally)
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


def _predict(client: Client, sources: list[Source], arguments: argparse.Namespace, tally: Tally) -> None:
    heatmaps = Heatmaps(arguments.explain) if arguments.explain else None
    with (
        writing(arguments.form, evidence=arguments.evidence) as write,
        reporting(len(sources), quiet=arguments.quiet, rows_come=arguments.form != "table") as report,
    ):
        outcomes = client.check(
            [source.photo for source in sources],
            # A single image is timed; in a batch only the whole is.
            batch_size=1 if len(sources) == 1 else arguments.batch_size,
            explain=heatmaps is not None,
            evidence=arguments.evidence,
            patience_s=arguments.patience,
            on_wait=report.waiting,
        )
        for source, outcome in zip(sources, outcomes, strict=True):
            tally.add(outcome)
            write(row_of(source.name, outcome, heatmaps.save(source.name, outcome) if heatmaps else None))
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
