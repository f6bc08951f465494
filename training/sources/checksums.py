"""What `download` wrote, with the SHA-256 of every file, in the format of the command sha256sum."""

from __future__ import annotations

import hashlib
from pathlib import Path

from training.atomic import write_bytes

NAME = "SHA256SUMS"


def write(folder: Path) -> None:
    """List every file below the folder."""
    lines = [f"{_digest(folder / path)}  {path}\n" for path in _files(folder)]
    write_bytes(folder / NAME, "".join(lines).encode())


def changed(folder: Path) -> list[str]:
    """Return the files that are there without having been written by us, are gone, or are not as we wrote them."""
    if not (folder / NAME).is_file():
        return _files(folder)
    lines = (folder / NAME).read_text("utf-8").splitlines()
    listed = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    files = set(_files(folder))
    unlike = [path for path, digest in listed.items() if path in files and _digest(folder / path) != digest]
    return sorted([*unlike, *(files ^ set(listed))])


def _files(folder: Path) -> list[str]:
    """List the files below a folder but the list itself; hidden ones are of no concern."""
    paths = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    shown = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    return sorted(path.as_posix() for path in shown if path.as_posix() != NAME)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
