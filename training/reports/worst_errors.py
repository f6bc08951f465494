"""The most confident errors, each as a thumbnail beside the heat map of what spoke for the verdict."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from handler.detector import Detector, Item, Judged
from handler.images import decode
from training.data import Photo
from training.metrics.scored import Bools, Floats, Scored
from training.reports.pages import data_uri

WORST = 12
THUMBNAIL = 208
"""Pixels, long side."""
_BATCH = 4


@dataclass(frozen=True)
class Mistake:
    """A wrong verdict with its images, JPEG as data URIs."""

    photo: Photo
    probability: float
    picture: str
    heatmap: str


def false_alarms(scored: Scored) -> Scored:
    """Return the real photos that were called AI-generated with the highest probability, worst first."""
    return _first(scored, scored.flagged & ~scored.generated, -scored.probabilities)


def misses(scored: Scored) -> Scored:
    """Return the AI-generated photos that were called real with the lowest probability, worst first."""
    return _first(scored, ~scored.flagged & scored.generated, scored.probabilities)


def explain(detector: Detector, root: Path, wrong: Scored, description: str) -> list[Mistake]:
    """Predict misclassified images again, with heat maps and a progress bar."""
    mistakes = []
    for start in track(range(0, len(wrong.photos), _BATCH), description):
        some = wrong.photos[start : start + _BATCH]
        contents = [(root / photo.path).read_bytes() for photo in some]
        answers = detector.judge([Item(content, explain=True) for content in contents])
        mistakes += [_mistake(*found) for found in zip(some, contents, answers, strict=True)]
    return mistakes


def _first(scored: Scored, wrong: Bools, order: Floats) -> Scored:
    ranked = [index for index in np.argsort(order, kind="stable").tolist() if wrong[index]][:WORST]
    return Scored([scored.photos[index] for index in ranked], scored.probabilities[ranked], scored.base_rate)


def _mistake(photo: Photo, content: bytes, answer: Judged | Exception) -> Mistake:
    if isinstance(answer, Exception):
        raise answer  # the same bytes were judged a moment ago
    heatmap = decode(answer.heatmap or content)
    return Mistake(photo, answer.verdict.probability, _thumbnail(decode(content)), _thumbnail(heatmap))


def _thumbnail(image: Image.Image) -> str:
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    saved = io.BytesIO()
    image.save(saved, "JPEG", quality=80)
    return data_uri(saved.getvalue(), "jpeg")
