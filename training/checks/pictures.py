"""Facts about each image, taken once: does it decode, what is it, and what does it look like."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import imagehash
from PIL import Image
from rich.progress import track

from handler.images import BadImageError, decode
from training.data import Photo


@dataclass(frozen=True)
class Facts:
    """An image that decodes: its upright size, its container, a digest of its pixels and a perceptual hash."""

    width: int
    height: int
    format: str
    digest: str
    look: int
    """64 bits of the DCT of its grey thumbnail (imagehash.phash); alike images differ in few."""


@dataclass(frozen=True)
class Broken:
    """An image that serving would refuse, or a missing file; `code` is serving's, or `missing`."""

    code: str


def inspect_all(root: Path, photos: Sequence[Photo], threads: int) -> list[Facts | Broken]:
    """Inspect every photo, in order, with a progress bar."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        facts = pool.map(inspect, (root / photo.path for photo in photos))
        return list(track(facts, "looking at pictures", total=len(photos)))


def inspect(file: Path) -> Facts | Broken:
    """Decode an image as serving does and describe it."""
    if not file.is_file():
        return Broken("missing")
    data = file.read_bytes()
    try:
        picture = decode(data)
    except BadImageError as error:
        return Broken(error.code)
    with Image.open(io.BytesIO(data)) as container:
        kind = str(container.format)
    digest = hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()
    return Facts(*picture.size, kind, digest, int(str(imagehash.phash(picture)), 16))
