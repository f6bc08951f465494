"""The manifest of labelled images, and how it is split."""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, astuple, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from scipy.cluster.hierarchy import DisjointSet

from handler.images import BadImageError, decode
from training.files import StageError, write_bytes, write_csv

Split = Literal["train", "dev", "test"]
LABELS = ("real", "ai_generated")
RAKES = 20
"""Rounds of weighing; one is enough where there is one view."""
NAME = "SHA256SUMS"
SHARES = MappingProxyType({"train": 0.7, "dev": 0.15, "test": 0.15})
SOURCES_NEEDED = 3
"""Of each class, to give dev and test sources of their own."""
DRAWS = 10_000
"""Random ways to share out whole sources, of which the one nearest to SHARES is taken."""


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
        StageError: No such file, a required column that it lacks, or text that is not UTF-8.
    """
    if not file.is_file():
        raise StageError(
            f"no manifest at {file}: run the stage download, or set your data folder with --set data.root=FOLDER"
        )
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:  # spreadsheets begin with a byte order mark
            reader = csv.DictReader(lines)
            missing = set(required) - set(reader.fieldnames or ())
            if missing:
                raise StageError(f"{file}: no column {', '.join(sorted(missing))}")
            return [{column: (row.get(column) or "").strip() for column in COLUMNS} for row in reader]
    except UnicodeDecodeError as error:
        raise StageError(f"{file} is not UTF-8: save it as CSV UTF-8") from error


def read_manifest(root: Path, manifest: Path) -> list[Photo]:
    """Read and check the manifest; further columns are ignored.

    Raises:
        StageError: No manifest or none of ours, a missing image, an unknown label or split, or a group in two
            splits.
    """
    file = root / manifest
    photos = [Photo(**row) for row in read_rows(file)]
    _check(photos, root, file)
    return photos


def of_split(photos: Sequence[Photo], split: Split) -> list[Photo]:
    """Return the images of one split; both classes must be there.

    Raises:
        StageError: A class without images.
    """
    chosen = [photo for photo in photos if photo.split == split]
    absent = set(LABELS) - {photo.label for photo in chosen}
    if absent:
        raise StageError(f"split {split} has no photo labelled {', '.join(sorted(absent))}")
    return chosen


def sampling_weights(photos: Sequence[Photo], power: float) -> list[float]:
    """Weigh classes alike, and within a class its sources by a power of their size (0: all alike, 1: by size).

    Within each `view` that images of both classes have, classes weigh alike as well, or scale would tell the class:
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


def label_tensor(photos: Sequence[Photo]) -> torch.Tensor:
    """Return the labels as float32, shape (N,); 1 is AI-generated."""
    return torch.tensor([float(LABELS.index(photo.label)) for photo in photos])


def read_photo(root: Path, photo: Photo) -> Image.Image:
    """Decode an image as serving does.

    Raises:
        StageError: The file is no image that serving would take.
    """
    try:
        return decode((root / photo.path).read_bytes())
    except BadImageError as error:
        raise StageError(f"{root / photo.path} cannot be used: {error.code}") from error


def _check(photos: Sequence[Photo], root: Path, file: Path) -> None:
    split_of: dict[str, str] = {}
    for line, photo in enumerate(photos, start=2):
        where = f"{file}, line {line}"
        if photo.label not in LABELS or photo.split not in get_args(Split):
            raise StageError(
                f"{where}: label {photo.label!r} or split {photo.split!r} is unknown "
                f"(expected {', '.join(LABELS)} and {', '.join(get_args(Split))})"
            )
        if not (root / photo.path).is_file():
            raise StageError(f"{where}: missing image {photo.path}")
        if split_of.setdefault(photo.group, photo.split) != photo.split:
            raise StageError(f"{where}: group {photo.group!r} is in two splits")


def write_manifest(file: Path, photos: Iterable[Photo]) -> None:
    """Write the images' rows, sorted by path, in one step."""
    write_csv(file, COLUMNS, (astuple(photo) for photo in sorted(photos, key=lambda photo: photo.path)))


def write_checksums(folder: Path) -> None:
    """List every file below the folder."""
    lines = [f"{sha256(folder / path)}  {path}\n" for path in _files(folder)]
    write_bytes(folder / NAME, "".join(lines).encode())


def changed(folder: Path) -> list[str]:
    """Return the files that are there without having been written by us, are gone, or are not as we wrote them."""
    if not (folder / NAME).is_file():
        return _files(folder)
    lines = (folder / NAME).read_text("utf-8").splitlines()
    listed = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    files = set(_files(folder))
    unlike = [path for path, digest in listed.items() if path in files and sha256(folder / path) != digest]
    return sorted([*unlike, *(files ^ set(listed))])


def _files(folder: Path) -> list[str]:
    """List the files below a folder but the list itself; hidden ones are of no concern."""
    paths = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    shown = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    return sorted(path.as_posix() for path in shown if path.as_posix() != NAME)


def sha256(file: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def assign_splits(photos: Sequence[Photo], seed: int) -> list[Photo]:
    """Return the images, in their order, with a split each; the same for any order of theirs.

    Given three sources or more in each class, dev and test get whole sources, none of which train has. Otherwise each
    source is divided. A group never crosses splits.

    Raises:
        StageError: Too few groups for every split to have both classes.
    """
    return _divided(photos, _whole_sources(photos, seed) or _groups(photos, seed, SHARES), SHARES)


def divide_sources(photos: Sequence[Photo], shares: Mapping[str, float], seed: int) -> list[Photo]:
    """Return the images with splits of the given shares, divided within sources; a group never crosses.

    Raises:
        StageError: Too few groups for every split to have both classes.
    """
    return _divided(photos, _groups(photos, seed, shares), shares)


def _units(photos: Sequence[Photo]) -> dict[str, str]:
    """Map each source to a name that it shares with those sources that have a group in common with it."""
    linked = DisjointSet(sorted({photo.source for photo in photos}))
    first: dict[str, str] = {}
    for photo in sorted(photos, key=lambda photo: photo.source):
        linked.merge(first.setdefault(photo.group, photo.source), photo.source)
    return {source: min(linked.subset(source)) for source in linked}


def _whole_sources(photos: Sequence[Photo], seed: int) -> dict[str, str] | None:
    units = _units(photos)
    counts = Counter((photo.label, units[photo.source]) for photo in photos)
    names = sorted(set(units.values()))
    sizes = np.array([[counts[label, name] for name in names] for label in LABELS])  # (classes, units)
    if ((sizes > 0).sum(axis=1) < SOURCES_NEEDED).any():
        return None
    splits, shares = list(SHARES), np.array(list(SHARES.values()))
    draws = np.random.default_rng(seed).choice(len(splits), size=(DRAWS, len(names)), p=shares)
    got = np.stack([(draws == index) @ sizes.T for index in range(len(splits))], axis=-1)  # (draws, classes, splits)
    cost = np.abs(got / sizes.sum(axis=1)[:, None] - shares).sum(axis=(1, 2))
    cost[(got == 0).any(axis=(1, 2))] = np.inf
    if np.isinf(cost.min()):
        return None  # as where every unit of one class is a unit of the other, too
    best = dict(zip(names, draws[cost.argmin()], strict=True))
    return {photo.group: splits[best[units[photo.source]]] for photo in photos}


def _groups(photos: Sequence[Photo], seed: int, shares: Mapping[str, float]) -> dict[str, str]:
    """Hand out each class's groups, source by source in random order, to the split that lacks most at each step."""
    sizes = Counter(photo.group for photo in photos)
    homes: dict[str, tuple[str, str]] = {}
    for photo in sorted(photos, key=lambda photo: (photo.group, photo.label, photo.source)):
        homes.setdefault(photo.group, (photo.label, photo.source))
    targets = {split: share / sum(shares.values()) for split, share in shares.items()}
    shuffled = sorted(homes)
    np.random.default_rng(seed).shuffle(shuffled)
    had: defaultdict[str, Counter[str]] = defaultdict(Counter)
    split_of = {}
    for group in sorted(shuffled, key=lambda group: homes[group]):  # stable: random within a source
        mine = had[homes[group][0]]
        total = mine.total() + sizes[group]
        split_of[group] = max(targets, key=lambda split: targets[split] * total - mine[split])
        mine[split_of[group]] += sizes[group]
    return split_of


def _divided(photos: Sequence[Photo], split_of: Mapping[str, str], shares: Mapping[str, float]) -> list[Photo]:
    divided = [replace(photo, split=split_of[photo.group]) for photo in photos]
    have = {(photo.split, photo.label) for photo in divided}
    lacking = [f"{label} in {split}" for split in shares for label in LABELS if (split, label) not in have]
    if lacking:
        raise StageError(
            f"too few groups of images to split: none left for {', '.join(lacking)}; add images, or "
            "a manifest whose column split is train, dev or test in every row"
        )
    return divided
