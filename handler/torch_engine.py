"""The network in PyTorch: half precision on GPUs, and on CPUs float32, which is what all else is measured by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import nn

from handler import network
from handler.engine import Forward
from handler.spec import ModelSpec
from handler.transforms import Pixels


class TorchEngine:
    """Runs all views of one size of all pictures as one batch."""

    def __init__(self, model: nn.Module, spec: ModelSpec, device: torch.device) -> None:
        self._network = network.PixelNetwork(model, spec).eval().to(device).to(memory_format=torch.channels_last)
        self._device = device

    @classmethod
    def load(cls, weights: Path, spec: ModelSpec, device: torch.device) -> Self:
        """Build the spec's network and fill it from a safetensors file."""
        return cls(network.load(spec, weights), spec, device)

    def run(self, pictures: Sequence[Pixels], keep_features: Sequence[bool]) -> list[Forward]:
        """Return a forward for each picture; see `Engine`."""
        logits, features = zip(*[self._one_size(alike) for alike in zip(*pictures, strict=True)], strict=True)
        means = torch.cat(logits, dim=1).mean(dim=1).tolist()
        return [
            Forward(mean, [alike[index].float().cpu() for alike in features] if keep else ())
            for index, (mean, keep) in enumerate(zip(means, keep_features, strict=True))
        ]

    def _one_size(self, views: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits, shape (N, V), and features, shape (N, V, C, h, w), of N pictures' V views of one size."""
        pixels = torch.cat(list(views))
        if self._device.type == "cuda":
            pixels = pixels.pin_memory()
        with torch.no_grad(), torch.autocast("cuda", torch.float16, enabled=self._device.type == "cuda"):
            logits, features = self._network(pixels.to(self._device, non_blocking=True))
        shape = (len(views), -1)
        return logits.float().view(shape), features.unflatten(0, shape)
