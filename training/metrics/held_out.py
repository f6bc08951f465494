"""The photos that training did not see, with their logits under each condition of the robustness matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from handler.spec import ModelSpec
from training.data import Photo, of_split
from training.datamodule import PhotoDataModule
from training.metrics.robustness import CLEAN, degraded_logits
from training.metrics.scored import Scored, score
from training.paths import Paths


@dataclass(frozen=True)
class HeldOut:
    """One split.

    Attributes:
        photos: N photos.
        logits: Shape (N,), by condition.
        trained_on: The sources of which training had photos.
    """

    photos: Sequence[Photo]
    logits: Mapping[str, torch.Tensor]
    trained_on: frozenset[str]

    def unseen(self, photo: Photo) -> bool:
        """Whether training had nothing of the photo's source."""
        return photo.source not in self.trained_on

    def headline(self) -> HeldOut:
        """Return the photos of unseen sources; all of them where those lack a class."""
        photos = [photo for photo in self.photos if self.unseen(photo)]
        if len({photo.label for photo in photos}) < 2:  # noqa: PLR2004 - both classes
            return self
        chosen = torch.tensor([self.unseen(photo) for photo in self.photos])
        return HeldOut(photos, {name: values[chosen] for name, values in self.logits.items()}, self.trained_on)

    def scored(self, spec: ModelSpec) -> Scored:
        """Return the photos as they are, with their verdicts."""
        return score(self.photos, self.logits[CLEAN], spec)


def judge(data: PhotoDataModule, paths: Paths) -> dict[str, HeldOut]:
    """Return the splits that `evaluate.splits` names, predicted under each condition."""
    trained_on = frozenset(photo.source for photo in data.photos if photo.split == "train")
    splits = {name: of_split(data.photos, name) for name in data.params.evaluate.splits}
    return {name: HeldOut(photos, degraded_logits(data, paths, photos), trained_on) for name, photos in splits.items()}
