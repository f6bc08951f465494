"""A folder of one's own: with a manifest, or with the folders real/ and ai_generated/."""

import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from rich.progress import track

from training.data import manifest as splits
from training.data.manifest import LABELS, Photo, read_rows
from training.files import StageError
from training.params import DataParams

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
INDEX = re.compile(r"[-_ .(]+\d{1,3}\)?$")
"""What numbers the images of one object, at the end of a name."""
TOLD = 10
"""Images that are named where they cannot be used; of more, the number is."""
NUMBERED = 10
"""Images; where so many of a folder share a name but for the index, the name stands for the folder, not an object."""


def fill(params: DataParams, folder: Path) -> list[Photo]:
    """Link or copy the images of the folder that `data.source` names, and return their rows.

    A manifest without splits gets them from `data.split_seed`, as does a folder without a manifest.

    Raises:
        StageError: No such folder, neither layout, an image that is not there, or too few to split.
    """
    origin = Path(params.source)
    if not origin.is_dir():
        raise StageError(f"data.source is {params.source!r}: not cifake, tiny or an existing folder")
    photos = _listed(origin, params.manifest) if (origin / params.manifest).is_file() else _found(origin)
    if not all(photo.split for photo in photos):
        photos = splits.assign(photos, params.split_seed)
    for path in track(sorted({photo.path for photo in photos}), "taking pictures"):
        _take(origin / path, folder / path)
    return photos


def _usable(origin: Path, paths: Iterable[str]) -> list[str]:
    """Return those that can be read, and tell of the others; nothing but a file has an end."""
    found: list[str] = []
    lost: list[str] = []
    for path in paths:
        usable = os.access(origin / path, os.R_OK) and (origin / path).is_file()
        (found if usable else lost).append(path)
    for path in lost[:TOLD]:
        print(f"download: skipped {ascii(path)[1:-1]}: not a readable file", file=sys.stderr)
    if len(lost) > TOLD:
        print(f"download: skipped {len(lost) - TOLD} more", file=sys.stderr)
    return found


def _listed(origin: Path, manifest: Path) -> list[Photo]:
    """Read a manifest; only the columns path and label must be there."""
    file = origin / manifest
    photos = [_completed(row) for row in read_rows(file, required=("path", "label"))]
    for line, photo in enumerate(photos, start=2):
        if photo.label not in LABELS:
            raise StageError(f"{file}, line {line}: label {photo.label!r} is not one of {', '.join(LABELS)}")
        if not _is_inside(photo.path):
            raise StageError(f"{file}, line {line}: missing image {photo.path!r}")
    usable = set(_usable(origin, dict.fromkeys(photo.path for photo in photos)))
    photos = [photo for photo in photos if photo.path in usable]
    unsplit = sum(not photo.split for photo in photos)
    if 0 < unsplit < len(photos):
        raise StageError(f"{file}: {unsplit} rows have no split; fill the column split in all rows or in none")
    if not photos:
        raise StageError(f"{file} lists no existing image")
    return photos


def _completed(row: dict[str, str]) -> Photo:
    """Fill in what a row leaves open."""
    path = PurePosixPath(row["path"])
    known = {name: value for name, value in row.items() if value}
    defaults = {
        "source": path.parent.name or row["label"],
        "generator": "none" if row["label"] == LABELS[0] else "unknown",
        "domain": "unknown",
        "group": str(path),
        "licence": "none stated",
    }
    return Photo(**row | defaults | known | {"path": str(path) if row["path"] else ""})


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return bool(path) and not parts.is_absolute() and ".." not in parts.parts


def _found(origin: Path) -> list[Photo]:
    photos = []
    for label in LABELS:
        shown = sorted(file.relative_to(origin) for file in (origin / label).rglob("*"))
        paths = [
            PurePosixPath(path) for path in _usable(origin, (path.as_posix() for path in shown if _is_shown(path)))
        ]
        if not paths:
            raise StageError(
                f"{origin} has neither a manifest nor images ({', '.join(SUFFIXES)}) in both real/ and ai_generated/"
            )
        groups = _groups(paths)
        generator = "none" if label == LABELS[0] else "unknown"
        for path in paths:
            # Of label/source/.../image the second part is the source; of label/image, the label.
            source = path.parts[1] if len(path.parts) > 2 else label  # noqa: PLR2004
            photos.append(Photo(str(path), label, "", source, generator, "unknown", groups[path], "none stated"))
    return photos


def _is_shown(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _groups(paths: Sequence[PurePosixPath]) -> dict[PurePosixPath, str]:
    """Name each image's group: its path without the index at the end of its name, else its own path."""
    stems = {path: path.parent / (INDEX.sub("", path.stem) or path.stem) for path in paths}
    sizes = Counter(stems.values())
    folders = Counter(path.parent for path in paths)
    return {
        path: str(path if sizes[stem] > max(NUMBERED, folders[path.parent] / 2) else stem)
        for path, stem in stems.items()
    }


def _take(origin: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(origin.resolve(), target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(origin, target)
