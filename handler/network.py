"""The network: a timm backbone with one logit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import nn

from handler.spec import ModelSpec
from handler.transforms import Views, normalise


class PixelNetwork(nn.Module):
    """A network from pixels on, with all that serving wants of one forward."""

    model: Any  # timm's, with methods that no nn.Module has

    def __init__(self, model: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.model = model
        self.spec = spec

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits, shape (N, 1), and last feature maps, shape (N, C, h, w), of uint8 pixels (N, H, W, 3)."""
        views = normalise(pixels, self.spec).to(next(self.model.parameters()).dtype)
        features = self.model.forward_features(views)
        return self.model.forward_head(features), features


def build(spec: ModelSpec, *, pretrained: bool = False) -> nn.Module:
    """Return the spec's network; it maps (N, 3, H, W) to logits of shape (N, 1).

    `pretrained=True` loads timm's ImageNet weights, which takes a reachable model hub.
    """
    model: nn.Module = timm.create_model(spec.architecture, pretrained=pretrained, num_classes=1, drop_rate=0.2)
    nn.init.normal_(model.get_parameter("classifier.weight"), std=0.01)  # timm's own init gives one logit wild values
    return model


def load(spec: ModelSpec, weights: Path) -> nn.Module:
    """Return the spec's network with the weights of a safetensors file, in evaluation mode.

    Raises:
        OSError: The file cannot be read.
        safetensors.SafetensorError: It is no safetensors file.
        RuntimeError: Its tensors are not those of the network.
    """
    model = build(spec)
    model.load_state_dict(load_file(weights))
    return model.eval()


def judge_views(model: nn.Module, views: Views) -> torch.Tensor:
    """Return one logit a picture, shape (N,): the mean over its views, of each size a shape (N, V, 3, side, side)."""
    return torch.cat([model(_one_batch(alike)).view(alike.shape[:2]) for alike in views], dim=1).mean(dim=1)


def _one_batch(views: torch.Tensor) -> torch.Tensor:
    """Return views, shape (N, V, 3, H, W), as one batch of shape (N * V, 3, H, W), in the layout that is fastest."""
    return views.flatten(0, 1).contiguous(memory_format=torch.channels_last)
