from __future__ import annotations

import pytest
import torch
from torch import nn

from handler import network
from handler.detector import Detector
from handler.spec import ModelSpec


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    return ModelSpec(version="9.9.9", input_size=96, details=1, detail_size=64)


@pytest.fixture(scope="session")
def model(spec: ModelSpec) -> nn.Module:
    """A network with random weights whose logits differ from picture to picture."""
    torch.manual_seed(0)
    model = network.build(spec).eval()
    classifier = model.get_submodule("classifier")
    with torch.no_grad():
        features = model(torch.randn(8, 3, 96, 96))
        classifier.get_parameter("weight").div_(features.std())
        classifier.get_parameter("bias").copy_(-features.mean() / features.std())
    return model


@pytest.fixture(scope="session")
def detector(spec: ModelSpec, model: nn.Module) -> Detector:
    return Detector(spec, model, torch.device("cpu"))
