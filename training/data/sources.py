"""Where images come from: CIFAKE, a folder of one's own, or a small generated set."""

import hashlib
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from huggingface_hub import hf_hub_download
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from scipy.ndimage import gaussian_filter, laplace, zoom

from training.data.manifest import LABELS, SHARES, Photo, assign_splits, divide_sources, read_rows
from training.files import StageError
from training.params import DataParams

CIFAKE = "dragonintelligence/CIFAKE-image-dataset"
"""Bird and Lotfi 2023, arXiv 2303.14126: CIFAR-10 against Stable Diffusion 1.4, 32 px, one source."""
CIFAKE_FILES = {"train": "data/train-00000-of-00001.parquet", "test": "data/test-00000-of-00001.parquet"}
"""By its own splits; with the columns image (bytes) and label (FAKE, REAL)."""
CIFAKE_LABELS = {"REAL": "real", "FAKE": "ai_generated"}
"""What it calls our labels."""
CIFAKE_GENERATORS = {"real": "none", "ai_generated": "stable-diffusion-v1.4"}
CIFAKE_SUFFIXES = {b"\x89PNG": ".png", b"RIFF": ".webp"}
"""By the first four bytes; what begins otherwise is JPEG, which CIFAKE was published as."""


@dataclass(frozen=True)
class Entry:
    """One image as it was published: the file's bytes, our label, and CIFAKE's own split, train or test."""

    data: bytes
    label: str
    split: str


def cifake_entries(cache: Path) -> list[Entry]:
    """Download the Parquet files from Hugging Face into the cache, or resume, and return every image.

    Raises:
        StageError: They are not to be had; the message says what to do.
    """
    try:
        files = [
            (split, hf_hub_download(CIFAKE, name, repo_type="dataset", local_dir=cache))
            for split, name in CIFAKE_FILES.items()
        ]
    except Exception as error:  # the hub's client raises its own, OSError's, and those of its HTTP library
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StageError(
            f"CIFAKE is unavailable (Hugging Face: {reason}); set data.source to a folder of your own images, or to "
            "tiny for a small generated set (--set data.source=tiny)"
        ) from error
    return [entry for split, file in files for entry in _read_parquet(Path(file), split)]


def _read_parquet(file: Path, split: str) -> Iterator[Entry]:
    table = pq.ParquetFile(file)
    described = json.loads((table.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    names = described.get("info", {}).get("features", {}).get("label", {}).get("names", ["FAKE", "REAL"])
    for batch in table.iter_batches(columns=["image", "label"]):
        for row in batch.to_pylist():
            yield Entry(row["image"]["bytes"], CIFAKE_LABELS[names[row["label"]]], split)


def fill_from_cifake(params: DataParams, folder: Path, published: Iterable[Entry]) -> list[Photo]:
    """Write `per_class` images of each class of CIFAKE, our test from its own; return their rows.

    The pick depends on `split_seed` and on the images' bytes, not on their order in the hub's files. All of it is one
    source: figures on its test split say nothing about others.

    Raises:
        StageError: `per_class` is more than CIFAKE has.
    """
    test = round(params.per_class * SHARES["test"])
    ranked = _ranked(published, params.split_seed)
    photos: list[Photo] = []
    for label in LABELS:
        for split, count in (("test", test), ("train", params.per_class - test)):
            chosen = ranked[label, split][:count]
            if len(chosen) < count:
                raise StageError(f"CIFAKE has {len(chosen)} {label} images to {split} with: lower data.per_class")
            photos += [_write_entry(entry, folder) for entry in track(chosen, f"writing {label} of {split}")]
    known = {"train": 1 - 2 * SHARES["test"], "dev": SHARES["test"]}
    test_photos = [photo for photo in photos if photo.split == "test"]
    return test_photos + divide_sources([p for p in photos if p.split == "train"], known, params.split_seed)


def _ranked(entries: Iterable[Entry], seed: int) -> dict[tuple[str, str], list[Entry]]:
    """Sort each class of each split by a hash that the seed draws, each image once, rather in test."""
    ranked: dict[tuple[str, str], list[Entry]] = {(label, split): [] for label in LABELS for split in ("train", "test")}
    seen: set[bytes] = set()
    for entry in sorted(entries, key=lambda entry: (entry.split, hashlib.sha256(b"%d:" % seed + entry.data).digest())):
        if entry.data not in seen:
            seen.add(entry.data)
            ranked[entry.label, entry.split].append(entry)
    return ranked


def _write_entry(entry: Entry, folder: Path) -> Photo:
    name = hashlib.sha256(entry.data).hexdigest()[:16] + CIFAKE_SUFFIXES.get(entry.data[:4], ".jpg")
    path = f"{entry.label}/{name}"
    (folder / entry.label).mkdir(exist_ok=True)
    (folder / path).write_bytes(entry.data)
    return Photo(path, entry.label, entry.split, "cifake", CIFAKE_GENERATORS[entry.label], "cifar-10", path, "MIT")


SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
INDEX = re.compile(r"[-_ .(]+\d{1,3}\)?$")
"""What numbers the images of one object, at the end of a name."""
TOLD = 10
"""Images that are named where they cannot be used; of more, the number is."""
NUMBERED = 10
"""Images; where so many of a folder share a name but for the index, the name stands for the folder, not an object."""


def fill_from_folder(params: DataParams, folder: Path) -> list[Photo]:
    """Link or copy the images of the folder that `data.source` names, and return their rows.

    A manifest without splits gets them from `data.split_seed`, as does a folder without a manifest.

    Raises:
        StageError: No such folder, neither layout, an image that is not there, or too few to split.
    """
    origin = Path(params.source)
    if not origin.is_dir():
        raise StageError(f"data.source is {params.source!r}: not cifake, tiny or an existing folder")
    photos = _in_manifest(origin, params.manifest) if (origin / params.manifest).is_file() else _in_folders(origin)
    if not all(photo.split for photo in photos):
        photos = assign_splits(photos, params.split_seed)
    for path in track(sorted({photo.path for photo in photos}), "copying images"):
        _link(origin / path, folder / path)
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


def _in_manifest(origin: Path, manifest: Path) -> list[Photo]:
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


def _in_folders(origin: Path) -> list[Photo]:
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


def _link(origin: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(origin.resolve(), target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(origin, target)


Pixels = NDArray[np.float32]
"""Shape (H, W, 3), 0 to 255."""

SIDES = (128, 160, 192, 224)
PER_GROUP = 2
GROUPS_PER_SOURCE = 5
DOMAINS = {"train": ("shoes", "objects", "food", "nature"), "dev": ("objects", "clothes"), "test": ("shoes", "objects")}
"""Of each split's sources, the same for both classes."""
LATTICE = 4
"""By how much a made-up generator works smaller than its images: two up-samplings by 2."""
GRAIN = (1.0, 2.5)
"""Standard deviation of the Laplacian of the smoothed noise; as the same for both classes, it tells none of them."""


def fill_with_tiny(params: DataParams, folder: Path) -> list[Photo]:
    """Write 160 images of shaded shapes and return their rows; the same bytes for the same `split_seed`.

    So the whole pipeline runs anywhere in minutes; figures on these images mean nothing elsewhere.

    Both classes show the same things through the same JPEG. The "real" ones carry grain like a sensor's; the
    "generated" ones come out of a chain of nearest-neighbour up-sampling and smoothing, as latent decoders have it, and
    carry the lattice that it leaves, as strong as the grain.
    """
    sources = [
        (f"tiny_{label}_{split}_{number}", label, split, domain)
        for label in LABELS
        for split, domains in DOMAINS.items()
        for number, domain in enumerate(domains)
    ]
    photos = []
    for number, (source, label, split, domain) in enumerate(track(sources, "generating images")):
        generator = "none" if label == LABELS[0] else f"upsampler-{number}"
        (folder / label / source).mkdir(parents=True)
        for index in range(GROUPS_PER_SOURCE * PER_GROUP):
            group = index // PER_GROUP
            look = np.random.default_rng((params.split_seed, number, group))
            random = np.random.default_rng((params.split_seed, number, group, index))
            path = f"{label}/{source}/{index:02}.jpg"
            pixels = _picture(random, look, generated=label == LABELS[1])
            Image.fromarray(pixels).save(folder / path, "JPEG", quality=int(random.integers(85, 96)))
            photos.append(Photo(path, label, split, source, generator, domain, f"{source}/{group}", "CC0-1.0"))
    return photos


def _picture(random: np.random.Generator, look: np.random.Generator, *, generated: bool) -> NDArray[np.uint8]:
    height, width = random.choice(SIDES, 2).tolist()
    plain = _enlarged(_scene(random, look, height, width))
    noise = _lattice(random, plain.shape) if generated else _grain(random, plain.shape)
    noise *= random.uniform(*GRAIN) / np.std(laplace(gaussian_filter(noise[..., 1], 1)))
    picture = plain + noise
    picture *= random.uniform(110, 150) / max(float(picture.mean()), 1)  # brightness tells nothing
    return picture.clip(0, 255).round().astype(np.uint8)


def _scene(random: np.random.Generator, look: np.random.Generator, height: int, width: int) -> Pixels:
    """Shaded superellipses with a soft texture before a graded ground; `look` draws what a group has in common."""
    ground, shade = (look.uniform(*bounds, 3).astype(np.float32) for bounds in ((90, 220), (30, 200)))
    roundness, shapes, texture = float(look.uniform(1.6, 4)), int(look.integers(2, 6)), float(look.uniform(4, 12))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    tilt = random.uniform(-0.3, 0.3, 2)
    scene = ground * (1 + tilt[0] * x + tilt[1] * y)[..., None]
    for _ in range(shapes):
        centre, radius = random.uniform(-0.6, 0.6, 2), random.uniform(0.15, 0.6, 2)
        distance = (abs((x - centre[0]) / radius[0])) ** roundness
        distance += (abs((y - centre[1]) / radius[1])) ** roundness
        colour = shade * random.uniform(0.5, 1.5, 3)
        light = 1.2 - 0.5 * distance
        bumps = texture * gaussian_filter(random.standard_normal((height, width)), 3) * 10
        cover = 1 / (1 + np.exp(np.clip((distance - 1) * 20, -50, 50)))
        scene += cover[..., None] * (colour * light[..., None] + bumps[..., None] - scene)
    return np.asarray(scene, dtype=np.float32)


def _enlarged(scene: Pixels) -> Pixels:
    """Give images of both classes the softness of one half their size."""
    small = zoom(gaussian_filter(scene, (1, 1, 0)), (0.5, 0.5, 1), order=1)
    factors = np.divide(scene.shape, small.shape)
    return np.asarray(gaussian_filter(zoom(small, factors, order=1), (0.7, 0.7, 0)), dtype=np.float32)


def _grain(random: np.random.Generator, shape: tuple[int, ...]) -> Pixels:
    """Noise of a sensor behind a demosaicking filter."""
    return np.asarray(gaussian_filter(random.standard_normal(shape), (0.6, 0.6, 0)), dtype=np.float32)


def _lattice(random: np.random.Generator, shape: tuple[int, ...]) -> Pixels:
    """Latent noise after two up-samplings: nearest neighbour by 2, and a smoothing kernel."""
    height, width, channels = shape
    noise = random.standard_normal((height // LATTICE, width // LATTICE, channels))
    for _ in range(2):
        noise = gaussian_filter(noise.repeat(2, axis=0).repeat(2, axis=1), (0.4, 0.4, 0))
    return np.asarray(noise, dtype=np.float32)
