"""Int8 weights of a frozen transformer: a quarter of the size and a third of the time, for nearly its answers.

Weights are int8 with one scale per output channel; eager PyTorch computes with them in float32, an engine may round
the inputs too, by scales that it finds as it goes. Before rounding, large input channels are made smaller and their
weights larger, which changes no answer in float32 (SmoothQuant, Xiao et al. 2023, arXiv 2211.10438).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import torch
from torch import nn

from handler.heads import SCALE, LastBlock
from handler.network import FrozenTransformer

LEVELS: Final = 127
SMOOTHING: Final = 0.5
"""How much of the spread between channels goes from inputs to weights; 0.5 is the paper's."""
EXACT_BITS: Final = ~0x7F
"""Mask of a float32's bits that leaves a scale times any int8 exact, so that rounding again changes nothing."""
SMALLEST: Final = 1e-5


def quantise(
    model: FrozenTransformer, views: Iterable[torch.Tensor], smoothing: float | None = SMOOTHING
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
        scale = (weight.abs().amax(dim=1, keepdim=True) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
        scale = (scale.view(torch.int32) & EXACT_BITS).view(torch.float32)
        tensors[f"{name}.weight"] = (weight / scale).round().clamp(-LEVELS, LEVELS).to(torch.int8)
        tensors[f"{name}.weight{SCALE}"] = scale
    return tensors


def _layers(model: FrozenTransformer) -> Iterator[tuple[str, nn.Linear]]:
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and not name.startswith("head.classifier"):
            yield name, layer


def _pairs(model: FrozenTransformer) -> Iterator[tuple[Any, list[nn.Linear]]]:
    """Return what scales channels, and the layers that read these channels."""
    for block in model.blocks:
        yield block.norm1, [block.attn.qkv]
        yield block.norm2, [block.mlp.fc1]
    last: LastBlock = model.head.block
    yield last.norm1, [last.q, last.kv]
    yield last.norm2, [last.fc1]


def _largest_inputs(model: FrozenTransformer, views: Iterable[torch.Tensor]) -> dict[nn.Linear, torch.Tensor]:
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
