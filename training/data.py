"""The manifest of labelled photos, and a dataset over one of its splits."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from handler.images import BadImageError, decode
from handler.transforms import Views

Split = Literal["train", "dev", "test"]
LABELS = ("real", "ai_generated")
RAKES = 20
"""Rounds of weighing; one is enough where there is one view."""


class InvalidDataError(ValueError):
    """Training data is missing or invalid; the message says where and what to do."""


@dataclass(frozen=True)
class Photo:
    """One row of the manifest; `path` is relative to the data folder.

    A manifest may lack the last two: `view`, the name of what was cut or scaled alike before the file was stored, and
    `source_width`, in pixels, before that.
    """

    path: str
    label: str
    split: str
    source: str
    generator: str
    domain: str
    group: str
    licence: str
    view: str = ""
    source_width: str = ""


COLUMNS = tuple(field.name for field in fields(Photo))
"""Of a manifest."""
REQUIRED = tuple(field.name for field in fields(Photo) if field.default is MISSING)


def read_rows(file: Path, required: Collection[str] = REQUIRED) -> list[dict[str, str]]:
    """Return a CSV's rows, unchecked, each with every column of ours; a column or cell that is absent reads as "".

    Raises:
        InvalidDataError: No such file, a required column that it lacks, or text that is not UTF-8.
    """
    if not file.is_file():
        raise InvalidDataError(f"no manifest at {file}: run the stage download, or name your data with data.source")
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:  # spreadsheets begin with a byte order mark
            reader = csv.DictReader(lines)
            missing = set(required) - set(reader.fieldnames or ())
            if missing:
                raise InvalidDataError(f"{file}: no column {', '.join(sorted(missing))}")
            return [{column: (row.get(column) or "").strip() for column in COLUMNS} for row in reader]
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{file} is not UTF-8: save it as CSV UTF-8") from error


def read_manifest(root: Path, manifest: Path) -> list[Photo]:
    """Read and check the manifest; further columns are ignored.

    Raises:
        InvalidDataError: No manifest or none of ours, a missing image, an unknown label or split, or a group in two
            splits.
    """
    file = root / manifest
    if not file.is_file():
        raise InvalidDataError(
            f"no manifest at {file}: set your data folder with --set data.root=FOLDER; it holds {manifest} with the "
            f"columns {', '.join(REQUIRED)} and the pictures"
        )
    photos = [Photo(**row) for row in read_rows(file)]
    _check(photos, root, file)
    return photos


def of_split(photos: Sequence[Photo], split: Split) -> list[Photo]:
    """Return the photos of one split; both classes must be there.

    Raises:
        InvalidDataError: A class without photos.
    """
    chosen = [photo for photo in photos if photo.split == split]
    absent = set(LABELS) - {photo.label for photo in chosen}
    if absent:
        raise InvalidDataError(f"split {split} has no photo labelled {', '.join(sorted(absent))}")
    return chosen


def sampling_weights(photos: Sequence[Photo], power: float) -> list[float]:
    """Weigh classes alike, and within a class its sources by a power of their size (0: all alike, 1: by size).

    Within each `view` that photos of both classes have, classes weigh alike as well, or scale would tell the class:
    weights are raked to both margins (iterative proportional fitting, Deming and Stephan 1940).
    """
    sizes = Counter((photo.label, photo.source) for photo in photos)
    weights = np.array([sizes[photo.label, photo.source] ** (power - 1) for photo in photos], dtype=np.float64)
    generated = np.array([photo.label == LABELS[1] for photo in photos])
    views = np.array([photo.view for photo in photos])
    classes = [members for members in (~generated, generated) if members.any()]
    strata = [[members & (views == view) for members in classes] for view in sorted(set(views.tolist()))]
    for _ in range(RAKES):
        for stratum in (stratum for stratum in strata if all(members.any() for members in stratum)):
            mass = sum(weights[members].sum() for members in stratum) / len(stratum)
            for members in stratum:
                weights[members] *= mass / weights[members].sum()
        for members in classes:
            weights[members] /= weights[members].sum()
    found: list[float] = weights.tolist()
    return found


class PhotoDataset(Dataset[tuple[Views, torch.Tensor]]):
    """Pairs of an image's views, as serving has them, and its label as a float scalar (1 = AI-generated)."""

    def __init__(self, photos: Sequence[Photo], root: Path, transform: Callable[[Image.Image], Views]) -> None:
        self.photos = photos
        self.root = root
        self.transform = transform

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[Views, torch.Tensor]:
        photo = self.photos[index]
        return self.transform(read_photo(self.root, photo)), torch.tensor(float(LABELS.index(photo.label)))


def read_photo(root: Path, photo: Photo) -> Image.Image:
    """Decode a photo as serving does.

    Raises:
        InvalidDataError: The file is no image that serving would take.
    """
    try:
        return decode((root / photo.path).read_bytes())
    except BadImageError as error:
        raise InvalidDataError(f"{root / photo.path} cannot be used: {error.code}") from error


def _check(photos: Sequence[Photo], root: Path, file: Path) -> None:
    split_of: dict[str, str] = {}
    for line, photo in enumerate(photos, start=2):
        where = f"{file}, line {line}"
        if photo.label not in LABELS or photo.split not in get_args(Split):
            raise InvalidDataError(
                f"{where}: label {photo.label!r} or split {photo.split!r} is unknown "
                f"(expected {', '.join(LABELS)} and {', '.join(get_args(Split))})"
            )
        if not (root / photo.path).is_file():
            raise InvalidDataError(f"{where}: missing image {photo.path}")
        if split_of.setdefault(photo.group, photo.split) != photo.split:
            raise InvalidDataError(f"{where}: group {photo.group!r} is in two splits")
