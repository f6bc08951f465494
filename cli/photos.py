"""From the words of a command line to photos: files, folders, patterns and standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.exits import CommandError

STDIN = "-"
SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp"})
"""What is taken from a folder; a file that is named is always taken."""


@dataclass(frozen=True)
class Source:
    """A photo and what it is called in the output."""

    name: str
    photo: Path | bytes


def find(words: Sequence[str]) -> list[Source]:
    """Return the photos in the words' order, those of a folder by name; a missing file is one that will fail.

    Raises:
        CommandError: A folder or a pattern without any photo, or standard input twice or empty.
    """
    if words.count(STDIN) > 1:
        raise CommandError("standard input can be given only once")
    return [source for word in words for source in _of(word)]


def _of(word: str) -> list[Source]:
    if word == STDIN:
        return [Source(STDIN, _read_stdin())]
    if os.path.isdir(word):  # noqa: PTH112 - the name must come out as it was given
        found = list(_pictures(word))
    elif glob.has_magic(word) and not os.path.lexists(word):
        # A shell leaves a pattern in quotes, or without a match, to us.
        found = sorted(path for path in glob.glob(word, recursive=True) if os.path.isfile(path))  # noqa: PTH113, PTH207
    else:
        found = [word]
    if not found:
        raise CommandError(f"no photo in {word}: name a folder with {', '.join(sorted(SUFFIXES))} files, or the files")
    return [Source(name, Path(name)) for name in found]


def _pictures(folder: str) -> Iterator[str]:
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
