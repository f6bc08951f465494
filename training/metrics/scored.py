"""Photos with the scores and verdicts that a spec gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from handler.decision import decide
from handler.spec import ModelSpec
from training.data import LABELS, Photo

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scored:
    """Labelled photos as the detector judges them.

    Attributes:
        photos: N photos.
        probabilities: Calibrated, of being AI-generated, shape (N,).
        flagged: Whether the verdict is AI-generated, shape (N,).
    """

    photos: Sequence[Photo]
    probabilities: Floats
    flagged: Bools

    @property
    def generated(self) -> Bools:
        """Whether each photo is AI-generated, shape (N,)."""
        return np.array([photo.label == LABELS[1] for photo in self.photos], dtype=np.bool_)

    @property
    def has_both_classes(self) -> bool:
        """Whether there is something to tell apart."""
        return {photo.label for photo in self.photos} == set(LABELS)

    def where(self, chosen: Bools) -> Scored:
        """Return the photos that a mask of shape (N,) chooses."""
        photos = [photo for photo, wanted in zip(self.photos, chosen, strict=True) if wanted]
        return Scored(photos, self.probabilities[chosen], self.flagged[chosen])

    def that(self, condition: Callable[[Photo], bool]) -> Scored:
        """Return the photos that meet a condition."""
        return self.where(np.array([condition(photo) for photo in self.photos], dtype=np.bool_))


def score(photos: Sequence[Photo], logits: torch.Tensor, spec: ModelSpec) -> Scored:
    """Calibrate logits of shape (N,) and judge them by serving's own rule."""
    probabilities = ((logits.double() - spec.offset) / spec.temperature).sigmoid().numpy()
    flagged = [decide(logit, spec).prediction == spec.labels[1] for logit in logits.tolist()]
    return Scored(photos, probabilities, np.array(flagged, dtype=np.bool_))
