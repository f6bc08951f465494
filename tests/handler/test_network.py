from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from handler import network
from handler.spec import ModelSpec
from handler.transforms import normalise


def test_the_network_has_one_logit_a_picture(model: nn.Module) -> None:
    assert model(torch.zeros(2, 3, 96, 96)).shape == (2, 1)


def test_pixels_give_the_logit_and_the_last_map_before_pooling(spec: ModelSpec, model: nn.Module) -> None:
    pixels = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)
    maps: list[torch.Tensor] = []
    hook = model.get_submodule("bn2").register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    expected = model(normalise(pixels, spec))
    hook.remove()
    logits, features = network.PixelNetwork(model, spec)(pixels)
    assert torch.equal(logits, expected)
    assert torch.equal(features, maps[0])
    assert features.shape == (2, 1280, 3, 3)


def test_an_unknown_architecture_is_refused_by_name(spec: ModelSpec) -> None:
    with pytest.raises(RuntimeError, match="no_such_net"):
        network.build(dataclasses.replace(spec, architecture="no_such_net"))
