"""The trained network as a graph that OpenVINO serves on CPUs, from pixels to the logit and the last feature map.

The graph names no numbers of its own: each constant is a place in the safetensors file that the archive has anyway, so
that the weights ship once. What the weights do not hold, a kilobyte of shapes and axes, lies in a file beside the graph
and counts as if it followed the weights.
"""

import json
import tempfile
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from safetensors.torch import load_file
from torch import nn

from handler import engines, network
from handler.heads import SCALE, LastBlock
from handler.spec import ModelSpec

HEADER_BEGINS: Final = 8
INT8_LEVELS: Final = 127
SMOOTHING: Final = 0.5
"""How much of the spread between channels goes from inputs to weights; 0.5 is the paper's."""
EXACT_BITS: Final = ~0x7F
"""Mask of a float32's bits that leaves a scale times any int8 exact, so that rounding again changes nothing."""
SMALLEST: Final = 1e-5


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
        graph.with_suffix(engines.CONSTANTS).write_bytes(constants)


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
        return nn.functional.linear(x, self.weight.float() * self.scale, self.bias)


def _point_into(tree: "ET.ElementTree[ET.Element]", numbers: bytes, weights: Path) -> bytes:
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


def quantise(
    model: network.FrozenTransformer, views: Iterable[torch.Tensor], smoothing: float | None = SMOOTHING
) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file that holds the model with int8 weights; the model itself is smoothed.

    Args:
        model: With float weights.
        views: Batches of normalised views, shape (N, 3, H, W), of some 150 images that the model was made for.
        smoothing: See `SMOOTHING`; None for a model that is smooth.
    """
    if smoothing is not None:
        largest = _largest_inputs(model.eval(), views)
        for before, after in _pairs(model):
            _smooth(before, after, largest[after[0]], smoothing)
    tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for name, layer in _layers(model):
        weight = layer.weight.detach()
        scale = (weight.abs().amax(dim=1, keepdim=True) / INT8_LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
        scale = (scale.view(torch.int32) & EXACT_BITS).view(torch.float32)
        tensors[f"{name}.weight"] = (weight / scale).round().clamp(-INT8_LEVELS, INT8_LEVELS).to(torch.int8)
        tensors[f"{name}.weight{SCALE}"] = scale
    return tensors


def _layers(model: network.FrozenTransformer) -> Iterator[tuple[str, nn.Linear]]:
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and not name.startswith("head.classifier"):
            yield name, layer


def _pairs(model: network.FrozenTransformer) -> Iterator[tuple[Any, list[nn.Linear]]]:
    """Return what scales channels, and the layers that read these channels."""
    for block in model.blocks:
        yield block.norm1, [block.attn.qkv]
        yield block.norm2, [block.mlp.fc1]
    last: LastBlock = model.head.block
    yield last.norm1, [last.q, last.kv]
    yield last.norm2, [last.fc1]


def _largest_inputs(model: network.FrozenTransformer, views: Iterable[torch.Tensor]) -> dict[nn.Linear, torch.Tensor]:
    """Return the largest magnitude of each input channel of each layer that is smoothed, shape (C,)."""
    largest: dict[nn.Linear, torch.Tensor] = {}

    def note(layer: nn.Linear, inputs: tuple[torch.Tensor]) -> None:
        found = inputs[0].abs().flatten(0, -2).amax(dim=0)
        largest[layer] = torch.maximum(largest.get(layer, found), found)

    with ExitStack() as hooks, torch.no_grad():
        for _, after in _pairs(model):
            hooks.callback(after[0].register_forward_pre_hook(note).remove)
        for batch in views:
            model(batch)
    return largest


def _smooth(before: nn.LayerNorm, after: list[nn.Linear], inputs: torch.Tensor, smoothing: float) -> None:
    weights = torch.stack([layer.weight.abs().amax(dim=0) for layer in after]).amax(dim=0).clamp(min=SMALLEST)
    factor = inputs.clamp(min=SMALLEST) ** smoothing / weights ** (1 - smoothing)
    with torch.no_grad():
        before.weight.div_(factor)
        before.bias.div_(factor)
        for layer in after:
            layer.weight.mul_(factor)
