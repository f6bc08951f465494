"""The detector by either engine, from the files that an archive carries."""

from pathlib import Path

import torch

from handler import heads
from handler.detector import Detector
from handler.engines import OpenVinoEngine
from handler.network import TorchEngine
from handler.spec import ModelSpec
from handler.torchserve_entry import GRAPH

WEIGHTS = "model.safetensors"


def eager(spec: ModelSpec, weights: Path) -> Detector:
    """In PyTorch in float32, which is what all else is measured by."""
    return Detector(spec, TorchEngine.load(weights, spec, torch.device("cpu")), heads.load(weights, spec))


def compiled(spec: ModelSpec, folder: Path, threads: int = 2) -> Detector:
    """In OpenVINO, as CPUs are served."""
    engine = OpenVinoEngine(folder / GRAPH, folder / WEIGHTS, spec, streams=threads)
    return Detector(spec, engine, heads.load(folder / WEIGHTS, spec), threads)
