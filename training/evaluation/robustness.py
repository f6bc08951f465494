"""The robustness matrix: what compression, scaling and editing on an image's way to us do to predictions.

Every condition is a deterministic change of the decoded image, before serving's own transform.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from handler.spec import ModelSpec
from training.data import datamodule, manifest
from training.evaluation import figures
from training.files import Paths
from training.model.predict import predict
from training.params import Params

CLEAN = "clean"
Matrix = dict[str, figures.Figures]
"""Figures by condition."""


def resize(image: Image.Image, factor: float) -> Image.Image:
    """Scale both sides, bicubic."""
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def crop(image: Image.Image, share: float) -> Image.Image:
    """Keep the centre, a share of each side."""
    width, height = (max(1, round(side * share)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def shrink_on_white(image: Image.Image, share: float) -> Image.Image:
    """Put the image, a share of its size, on a white canvas: the nearest to a cut-out that needs no mask."""
    return datamodule.on_white(resize(image, share), image.size)


def screenshot(image: Image.Image) -> Image.Image:
    """Shrink to three quarters, as a page does, and save as JPEG 80; the PNG of the screen between loses nothing."""
    return datamodule.saved(resize(image, 0.75), "JPEG", quality=80)


_CONDITIONS: tuple[tuple[str, datamodule.Degrade, str], ...] = (
    ("jpeg90", partial(datamodule.saved, file_format="JPEG", quality=90), "JPEG, quality 90"),
    ("jpeg70", partial(datamodule.saved, file_format="JPEG", quality=70), "JPEG, quality 70"),
    ("jpeg50", partial(datamodule.saved, file_format="JPEG", quality=50), "JPEG, quality 50"),
    ("webp75", partial(datamodule.saved, file_format="WEBP", quality=75), "WebP, quality 75"),
    ("resize050", partial(resize, factor=0.5), "half the size, bicubic"),
    ("resize150", partial(resize, factor=1.5), "one and a half times the size, bicubic"),
    ("crop080", partial(crop, share=0.8), "the central 80 % of each side"),
    ("blur", partial(Image.Image.filter, filter=ImageFilter.GaussianBlur(1.0)), "Gaussian blur, sigma 1 px"),
    (
        "white_background",
        partial(shrink_on_white, share=0.8),
        "the whole photo at 80 % on a white canvas; an approximate cut-out, no mask is drawn",
    ),
    ("screenshot", screenshot, "three quarters of the size, then JPEG 80"),
)
CONDITIONS: Mapping[str, datamodule.Degrade] = {name: degrade for name, degrade, _ in _CONDITIONS}
DESCRIPTIONS: Mapping[str, str] = {CLEAN: "as it is"} | {name: described for name, _, described in _CONDITIONS}


def degraded_logits(params: Params, paths: Paths, photos: Sequence[manifest.Photo]) -> dict[str, torch.Tensor]:
    """Return the logits of images under each condition, shape (N,), the clean ones first."""
    logits = {CLEAN: predict(params, paths, photos)}
    for number, (name, degrade) in enumerate(CONDITIONS.items(), start=1):
        print(f"robustness {number}/{len(CONDITIONS)}: {DESCRIPTIONS[name]}", flush=True)
        logits[name] = predict(params, paths, photos, degrade)
    return logits


def matrix(
    photos: Sequence[manifest.Photo], logits: Mapping[str, torch.Tensor], spec: ModelSpec, samples: int
) -> Matrix:
    """Return quality, and distance from the clean verdicts, under each condition for images of both classes."""
    clean, rows = figures.score(photos, logits[CLEAN], spec), {}
    for name, values in logits.items():
        scored = figures.score(photos, values, spec)
        moved = float(np.abs(scored.probabilities - clean.probabilities).mean())
        flipped = float((scored.flagged != clean.flagged).mean())
        quality = figures.ranking_quality(scored, samples) | figures.rates(scored, samples)
        rows[name] = quality | {"probability_change": moved, "flipped": flipped}
    return rows


def worst(rows: Matrix) -> dict[str, Any]:
    """Return the condition with the lowest AUROC, and that AUROC."""
    name, row = min(rows.items(), key=lambda item: item[1]["auroc"])
    return {"condition": name, "auroc": row["auroc"], "auroc_ci95": row["auroc_ci95"]}


@dataclass(frozen=True)
class HeldOut:
    """One split.

    Attributes:
        photos: N images.
        logits: Shape (N,), by condition.
        trained_on: The sources of which training had images.
    """

    photos: Sequence[manifest.Photo]
    logits: Mapping[str, torch.Tensor]
    trained_on: frozenset[str]

    def unseen(self, photo: manifest.Photo) -> bool:
        """Whether training had nothing of the image's source."""
        return photo.source not in self.trained_on

    def headline(self) -> "HeldOut":
        """Return the images of unseen sources; all of them where those lack a class."""
        photos = [photo for photo in self.photos if self.unseen(photo)]
        if len({photo.label for photo in photos}) < 2:  # noqa: PLR2004 - both classes
            return self
        chosen = torch.tensor([self.unseen(photo) for photo in self.photos])
        return HeldOut(photos, {name: values[chosen] for name, values in self.logits.items()}, self.trained_on)

    def scored(self, spec: ModelSpec) -> figures.Scored:
        """Return the images as they are, with their verdicts."""
        return figures.score(self.photos, self.logits[CLEAN], spec)


def predict_splits(params: Params, paths: Paths, photos: Sequence[manifest.Photo]) -> dict[str, HeldOut]:
    """Return the splits that `evaluate.splits` names, predicted under each condition."""
    trained_on = frozenset(photo.source for photo in photos if photo.split == "train")
    splits = {name: manifest.of_split(photos, name) for name in params.evaluate.splits}
    return {name: HeldOut(some, degraded_logits(params, paths, some), trained_on) for name, some in splits.items()}
