from __future__ import annotations

import dataclasses

import pytest
import timm
import torch
from torch import nn

from handler import network
from handler.spec import ModelSpec


def test_the_network_has_one_logit_a_picture(model: nn.Module) -> None:
    assert model(torch.zeros(2, 3, 96, 96)).shape == (2, 1)


def test_the_cam_layer_is_the_last_with_a_spatial_map(model: nn.Module) -> None:
    maps: list[torch.Tensor] = []
    hook = network.cam_layer(model).register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    inputs = torch.randn(1, 3, 96, 96)
    logits = model(inputs)
    hook.remove()
    assert maps[0].shape == (1, 1280, 3, 3)
    assert torch.allclose(model.get_submodule("classifier")(maps[0].mean(dim=(2, 3))), logits, atol=1e-6)


def test_another_family_of_networks_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="EfficientNet family"):
        network.cam_layer(timm.create_model("resnet18", pretrained=False, num_classes=1))


def test_an_unknown_architecture_is_refused_by_name(spec: ModelSpec) -> None:
    with pytest.raises(RuntimeError, match="no_such_net"):
        network.build(dataclasses.replace(spec, architecture="no_such_net"))
