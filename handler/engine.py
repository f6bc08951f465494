"""What runs the network: the same answers from OpenVINO on CPUs and from PyTorch on GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from handler.transforms import Pixels


@dataclass(frozen=True)
class Forward:
    """What the network makes of a picture: the mean logit of its views, and their last feature maps if wanted.

    Attributes:
        logit: Before calibration.
        features: For each size of view float32 of shape (V, C, h, w).
    """

    logit: float
    features: Sequence[torch.Tensor] = ()


class Engine(Protocol):
    """Runs the network; not to be shared between threads."""

    def run(self, pictures: Sequence[Pixels], keep_features: Sequence[bool]) -> list[Forward]:
        """Return a forward for each picture; features are kept of those that want them."""
