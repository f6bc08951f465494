"""`check`: images through a running gateway, one row each: a table for people, CSV and JSON lines for programs."""

import argparse
import csv
import glob
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gateway import client
from gateway.command.options import KEY_FILE_VARIABLE, KEY_VARIABLE, CommandError, Exit

STDIN = "-"
SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp"})
"""What is taken from a folder; a file that is named is always taken."""
USER_AGENT = "product-photo-command"
STYLES = {"ai_generated": "bold red", "real": "green"}
WORDS = {"ai_generated": "AI-generated", "real": "real"}
WIDEST = 100_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t")


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

    def save(self, photo: str, outcome: client.Outcome) -> str | None:
        """Write an image's heat map; return its path, or None if there is none."""
        if not isinstance(outcome, client.Explanation):
            return None
        stem = "stdin" if photo == STDIN else PurePath(photo).stem
        self._saved[stem.lower()] += 1  # some file systems know no case
        number = self._saved[stem.lower()]
        path = self._folder / (f"{stem}-heatmap.jpg" if number == 1 else f"{stem}-heatmap-{number}.jpg")
        path.write_bytes(outcome.heatmap)
        return str(path)


@dataclass(frozen=True)
class Row:
    """An image's line; the fields are CSV's columns and JSON's names, in their order."""

    photo: str
    prediction: client.Prediction | None = None
    probability: float | None = None
    confidence: client.Confidence | None = None
    inference_time_ms: float | None = None
    model_version: str | None = None
    heatmap: str | None = None
    evidence: Sequence[client.Evidence] | None = None
    code: str | None = None
    error: str | None = None


def row_of(name: str, outcome: client.Outcome, heatmap: str | None) -> Row:
    """Put a verdict or a failure into a line."""
    if isinstance(outcome, client.Failure):
        return Row(name, code=outcome.error.code, error=outcome.error.detail or outcome.error.title)
    return Row(
        name, **outcome.model_dump(exclude={"heatmap_base64", "evidence"}), heatmap=heatmap, evidence=outcome.evidence
    )


@dataclass
class Tally:
    """Counts outcomes and derives the command's exit code."""

    fail_on: str | None
    predictions: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    failures: list[client.GatewayError] = field(default_factory=list)

    def add(self, outcome: client.Outcome) -> None:
        """Count an image."""
        if isinstance(outcome, client.Failure):
            self.failures.append(outcome.error)
        else:
            self.predictions[outcome.prediction] += 1
            self.empty += isinstance(outcome, client.Explanation) and outcome.heatmap_is_empty

    @property
    def count(self) -> int:
        """Images so far."""
        return self.predictions.total() + len(self.failures)

    @property
    def advice(self) -> str:
        """What to do about the first failure that is not the image's own."""
        return next((str(one) for one in self.failures if one.again or isinstance(one, client.KeyRefusedError)), "")

    def summary(self) -> str:
        """Summarise the counts."""
        photos = "1 photo" if self.count == 1 else f"{self.count} photos"
        told = f"{photos}: {self.predictions['ai_generated']} ai_generated, {self.predictions['real']} real"
        told += f", {len(self.failures)} without a prediction" if self.failures else ""
        empty = "1 heat map is" if self.empty == 1 else f"{self.empty} heat maps are"
        return f"{told}; {empty} empty: no region supports the prediction" if self.empty else told

    def exit(self) -> Exit:
        """The most severe outcome wins, but a match of --fail-on outweighs an image without a prediction."""
        if any(isinstance(one, client.KeyRefusedError) for one in self.failures):
            return Exit.KEY_REFUSED
        if any(one.again for one in self.failures):
            return Exit.UNREACHABLE
        if self.predictions[self.fail_on or ""]:
            return Exit.FOUND
        return Exit.NOT_PREDICTED if self.failures else Exit.DONE


@contextmanager
def writing(form: str, *, evidence: bool) -> Iterator[Callable[[Row], None]]:
    """Yield what puts out a row: JSON and CSV at once, a table's when all are there or the command was interrupted."""
    # A file's name may be any bytes; they come out as they are.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    if form == "json":
        yield lambda row: print(json.dumps(vars(row), default=BaseModel.model_dump), flush=True)
    elif form == "csv":
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow([column.name for column in fields(Row)])
        sys.stdout.flush()

        def write(row: Row) -> None:
            lines.writerow((vars(row) | {"photo": _no_formula(row.photo), "evidence": _evidence(row)}).values())
            sys.stdout.flush()

        yield write
    else:
        rows: list[Row] = []
        try:
            yield rows.append
        finally:
            if rows:
                _show(_table(rows, evidence=evidence))


def _table(rows: Sequence[Row], *, evidence: bool) -> Table:
    titles = ["photo", "verdict", "probability", "confidence"]
    titles += ["evidence"] if evidence else []
    titles += ["heat map"] if any(row.heatmap for row in rows) else []
    table = Table(*titles)
    for column in table.columns:
        column.overflow = "fold"
    table.columns[2].justify = "right"
    for row in rows:
        table.add_row(*[_cell(row, title) for title in titles])
    return table


def _cell(row: Row, title: str) -> Text:
    if title == "verdict" and row.prediction is None:
        return Text(_printable(f"no prediction: {row.error}"), style="yellow")
    if title == "verdict" and row.prediction is not None:
        return Text(WORDS[row.prediction], style=STYLES[row.prediction])
    if title == "probability":
        return Text("" if row.probability is None else f"{row.probability:.4f}")
    if title == "evidence":
        return Text(_printable(_evidence(row)))
    return Text(_printable(getattr(row, title.replace(" ", "")) or ""))


def _show(table: Table) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:  # no window's width cuts what a program reads
        console.width = max(console.width, Console(width=WIDEST).measure(table).maximum)
    with console.capture() as captured:  # Rich would end the program by itself when a pipe is closed
        console.print(table)
    sys.stdout.write(captured.get())
    sys.stdout.flush()


def _evidence(row: Row) -> str:
    return "; ".join(f"{one.value} ({one.type}, {one.strength})" for one in row.evidence or ())


def _printable(text: str) -> str:
    """Show what a terminal would obey as a replacement character; file names come from strangers."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _no_formula(name: str) -> str:
    """Keep a spreadsheet from running a file's name as a formula; the name still leads to the file."""
    return f"./{name}" if name.startswith(FORMULA_STARTS) and name != "-" else name


@dataclass(frozen=True)
class Reporter:
    """Moves the bar if it is shown, else writes a line per wait."""

    bar: Progress
    task: TaskID
    quiet: bool

    def advance(self) -> None:
        """An image is done."""
        self.bar.update(self.task, advance=1, description="checking")

    def waiting(self, seconds: float, error: client.GatewayError) -> None:
        """The gateway is given time: say how long and why."""
        said = f"waiting {seconds:.0f} s: {error.title[0].lower()}{error.title[1:]}"
        self.bar.update(self.task, description=said)
        if self.bar.disable and not self.quiet:
            print(said, file=sys.stderr, flush=True)


@contextmanager
def reporting(total: int, *, quiet: bool, rows_come: bool) -> Iterator[Reporter]:
    """Open the reporter; rows that come into the same terminal leave no place for a bar."""
    no_bar = quiet or not sys.stderr.isatty() or (rows_come and sys.stdout.isatty())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    error = Console(stderr=True)
    with Progress(*columns, console=error, transient=True, redirect_stdout=False, disable=no_bar) as bar:
        yield Reporter(bar, bar.add_task("checking", total=total), quiet)


def run(arguments: argparse.Namespace) -> int:
    """Predict the images; return the exit code."""
    sources = find(arguments.photos)
    tally = Tally(arguments.fail_on)
    try:
        with _client(arguments) as gateway:
            gateway.alive()  # a service that is not there is told at once, before any image
            _predict(gateway, sources, arguments, tally)
    except client.GatewayError as error:
        print(f"{error} The address is {_address(arguments.url)}.", file=sys.stderr)
        return Exit.KEY_REFUSED if isinstance(error, client.KeyRefusedError) else Exit.UNREACHABLE
    except KeyboardInterrupt:
        print(f"stopped: {tally.count} of {len(sources)} images have a prediction", file=sys.stderr)
        return Exit.STOPPED
    if not arguments.quiet:
        print(tally.summary(), file=sys.stderr)
    if tally.advice:
        print(tally.advice, file=sys.stderr)
    return tally.exit()


def _predict(gateway: client.Client, sources: list[Source], arguments: argparse.Namespace, tally: Tally) -> None:
    heatmaps = Heatmaps(arguments.explain) if arguments.explain else None
    with (
        writing(arguments.form, evidence=arguments.evidence) as write,
        reporting(len(sources), quiet=arguments.quiet, rows_come=arguments.form != "table") as report,
    ):
        outcomes = gateway.check(
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


def _client(arguments: argparse.Namespace) -> client.Client:
    try:
        return client.Client(arguments.url, _key(arguments), timeout_s=arguments.timeout, user_agent=USER_AGENT)
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
