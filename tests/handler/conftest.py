from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from handler import heads, network
from handler.detector import Detector
from handler.heads import Head
from handler.network import TorchEngine
from handler.spec import ModelSpec
from handler.torchserve_entry import GRAPH
from tests.handler import detectors
from tests.handler.detectors import WEIGHTS
from training.model.export import write_graph


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
def model_folder(spec: ModelSpec, model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an archive carries of the network: its weights and its graph."""
    folder = tmp_path_factory.mktemp("model")
    save_file(model.state_dict(), folder / WEIGHTS)
    write_graph(spec, folder / WEIGHTS, folder / GRAPH)
    return folder


@pytest.fixture(scope="session")
def head(spec: ModelSpec, model_folder: Path) -> Head:
    return heads.load(model_folder / WEIGHTS, spec)


@pytest.fixture(scope="session")
def detector(spec: ModelSpec, model: nn.Module, head: Head) -> Detector:
    """The network in PyTorch, which is what all else is measured by."""
    return Detector(spec, TorchEngine(deepcopy(model), spec, torch.device("cpu")), head)


@pytest.fixture(scope="session")
def compiled(model_folder: Path, spec: ModelSpec) -> Detector:
    """The same network as it is served."""
    return detectors.compiled(spec, model_folder)
