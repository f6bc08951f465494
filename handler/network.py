"""The network: a timm backbone with one logit."""

from __future__ import annotations

import timm
import torch
from torch import nn

from handler.spec import ModelSpec
from handler.transforms import Views


def build(spec: ModelSpec, *, pretrained: bool = False) -> nn.Module:
    """Return the spec's network; it maps (N, 3, H, W) to logits of shape (N, 1).

    `pretrained=True` loads timm's ImageNet weights, which takes a reachable model hub.
    """
    model: nn.Module = timm.create_model(spec.architecture, pretrained=pretrained, num_classes=1, drop_rate=0.2)
    nn.init.normal_(model.get_parameter("classifier.weight"), std=0.01)  # timm's own init gives one logit wild values
    return model


def judge_views(model: nn.Module, views: Views) -> torch.Tensor:
    """Return one logit a picture, shape (N,): the mean over its views, of each size a shape (N, V, 3, side, side)."""
    return torch.cat([model(one_batch(alike)).view(alike.shape[:2]) for alike in views], dim=1).mean(dim=1)


def one_batch(views: torch.Tensor) -> torch.Tensor:
    """Return views, shape (N, V, 3, H, W), as one batch of shape (N * V, 3, H, W), in the layout that is fastest."""
    return views.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def cam_layer(model: nn.Module) -> nn.Module:
    """Return the last layer with a spatial map: the activated last convolution before pooling.

    Raises:
        ValueError: The architecture is none of timm's EfficientNet family.
    """
    try:
        return model.get_submodule("bn2")
    except AttributeError as error:
        raise ValueError("Grad-CAM needs a network of timm's EfficientNet family (a last layer named bn2)") from error
