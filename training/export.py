"""The trained network as a graph that OpenVINO serves on CPUs, from pixels to the logit and the last feature map.

The graph names no numbers of its own: each constant is a place in the safetensors file that the archive has anyway, so
that the weights ship once. What the weights do not hold, a kilobyte of shapes and axes, lies in a file beside the graph
and counts as if it followed the weights.
"""

from __future__ import annotations

import json
import tempfile
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from handler import network
from handler.heads import SCALE
from handler.openvino_engine import CONSTANTS
from handler.spec import ModelSpec

HEADER_BEGINS: Final = 8


def write_graph(spec: ModelSpec, weights: Path, graph: Path) -> None:
    """Write the graph of a safetensors file as `graph`, an .xml, with its small constants in a .bin beside it.

    It takes uint8 pixels of shape (N, H, W, 3) and gives logits, shape (N, 1), and the last features.
    """
    with tempfile.TemporaryDirectory() as folder:
        xml, numbers = Path(folder) / "graph.xml", Path(folder) / "graph.bin"
        openvino.serialize(_converted(spec, weights, load_file(weights)), xml, numbers)
        tree = ET.parse(xml)  # noqa: S314 - OpenVINO's own
        constants = _point_into(tree, numbers.read_bytes(), weights)
        tree.write(graph)
        graph.with_suffix(CONSTANTS).write_bytes(constants)


def _converted(spec: ModelSpec, weights: Path, stored: Mapping[str, torch.Tensor]) -> openvino.Model:
    """Convert without OpenVINO's optimisations, which would fold the weights; compiling makes up for it."""
    example = torch.zeros(1, spec.input_size, spec.input_size, 3, dtype=torch.uint8)
    model = network.load(spec, weights)
    for name in [name.removesuffix(SCALE).removesuffix(".weight") for name in stored if name.endswith(SCALE)]:
        scale, bias = stored[f"{name}.weight{SCALE}"], stored[f"{name}.bias"]
        model.set_submodule(name, _Int8Linear(stored[f"{name}.weight"], scale, bias))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns in three ways of tracing
        traced = TorchScriptPythonDecoder(network.PixelNetwork(model, spec).eval(), example_input=example)
    front_end = FrontEndManager().load_by_framework("pytorch")
    return front_end.convert(front_end.load(traced))


class _Int8Linear(nn.Module):
    """A linear layer whose weights the graph holds as int8."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.scale, self.bias = nn.Buffer(weight), nn.Buffer(scale), nn.Buffer(bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight.float() * self.scale, self.bias)


def _point_into(tree: ET.ElementTree[ET.Element], numbers: bytes, weights: Path) -> bytes:
    """Let the graph's constants point into the weights, and return those that are not there."""
    content = weights.read_bytes()
    places = _places(content)
    constants = bytearray()
    for data in tree.iterfind("layers/layer[@type='Const']/data"):
        start, size = int(data.attrib["offset"]), int(data.attrib["size"])
        constant = numbers[start : start + size]
        place = places.get(constant)
        if place is None:
            constants += b"\0" * (-(len(content) + len(constants)) % 8)  # numbers of up to eight bytes are aligned
            place = len(content) + len(constants)
            constants += constant
        data.set("offset", str(place))
    return bytes(constants)


def _places(content: bytes) -> dict[bytes, int]:
    """Return where the bytes of each tensor begin in a safetensors file: its header's length, header, tensors."""
    begin = HEADER_BEGINS + int.from_bytes(content[:HEADER_BEGINS], "little")
    header = json.loads(content[HEADER_BEGINS:begin])
    spans = [tensor["data_offsets"] for name, tensor in header.items() if name != "__metadata__"]
    return {content[begin + start : begin + stop]: begin + start for start, stop in spans}
