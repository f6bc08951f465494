"""The page of the data checks: findings with their images, leaks, counts, and a look at each class."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ImageOps

from handler.images import BadImageError, decode
from training import files
from training.checks.findings import Finding
from training.checks.leaks import sample
from training.data.manifest import LABELS, Photo
from training.params import DataParams

THUMBNAIL = 160
"""Pixels, long side."""
SHOWN = 24
"""Images of each class of train on the page."""
SHOWN_SPLITS = ("train", "dev")
"""Nobody should look at test before it is reported on."""
LEAKS = {
    "metadata_of_files": ("File metadata, as the files lie", None),
    "scale_of_files": ("Stored size and scale factor, as the files lie", None),
    "metadata_after_pipeline": ("File metadata, after the training pipeline", "max_metadata_auc"),
    "statistics_after_pipeline": ("Pixel statistics, after the training pipeline", "max_statistics_auc"),
}
"""Parts of the leak report, what they are, and the limit that applies."""


@dataclass(frozen=True)
class Shown:
    """An image on the page; without a thumbnail where it does not decode."""

    thumbnail: str | None
    path: str
    note: str


def write(
    file: Path, data: DataParams, report: Mapping[str, Any], findings: Sequence[Finding], photos: Sequence[Photo]
) -> None:
    """Write the page, self-contained; `photos` are those that decode."""
    notes = {photo.path: f"{photo.label}, {photo.split}, {photo.source}" for photo in photos}
    files.write(
        file,
        report=report,
        leaks=LEAKS,
        findings=[(finding, [_shown(data.root, paths, notes) for paths in finding.examples]) for finding in findings],
        sheets=[(title, _shown(data.root, paths, notes)) for title, paths in _sheets(photos, data.split_seed)],
    )


def _sheets(photos: Sequence[Photo], seed: int) -> Iterator[tuple[str, list[str]]]:
    for split in SHOWN_SPLITS:
        some = sample([photo for photo in photos if photo.split == split], len(LABELS) * SHOWN, seed)
        for label in LABELS:
            if mine := [photo.path for photo in some if photo.label == label]:
                yield f"{split}: {label}", mine


def _shown(root: Path, paths: Sequence[str], notes: Mapping[str, str]) -> list[Shown]:
    return [Shown(_thumbnail(root / path), path, notes.get(path, "")) for path in paths]


def _thumbnail(file: Path) -> str | None:
    try:
        picture = decode(file.read_bytes())
    except (OSError, BadImageError):
        return None
    out = io.BytesIO()
    ImageOps.contain(picture, (THUMBNAIL, THUMBNAIL)).save(out, "JPEG", quality=75)
    return files.data_uri(out.getvalue(), "jpeg")
