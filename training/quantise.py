"""Int8 weights and input ranges of a frozen transformer: a third of the memory and the time, for nearly its answers.

Weights are int8 with one scale for each output channel; eager PyTorch computes with them in float32. The ranges of the
layers' inputs let an engine compute in int8 throughout. Before rounding, large input channels are made smaller and
their weights larger, which changes no answer in float32 (SmoothQuant, Xiao et al. 2023, arXiv 2211.10438).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import torch
from torch import nn

from handler.heads import RANGE, SCALE, LastBlock
from handler.network import FrozenTransformer

LEVELS: Final = 127
SMOOTHING: Final = 0.5
"""How much of the spread between channels goes from inputs to weights; 0.5 is the paper's."""
EXACT_BITS: Final = ~0x7F
"""Mask of a float32's bits that leaves a scale times any int8 exact, so that rounding again changes nothing."""
SMALLEST: Final = 1e-5
_Extremes = dict[nn.Linear, tuple[torch.Tensor, ...]]
"""The lowest and the highest value of each input channel of a layer in each view, both of shape (N, C)."""


def quantise(
    model: FrozenTransformer, views: Iterable[torch.Tensor], smoothing: float | None = SMOOTHING
) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file that holds the model with int8 weights; the model itself is smoothed.

    Args:
        model: With float weights.
        views: Batches of normalised views, shape (N, 3, H, W), of some 150 images that the model was made for.
        smoothing: See `SMOOTHING`; None for a model that is smooth.
    """
    layers = dict(_layers(model))
    extremes = _extremes(model.eval(), layers, views)
    if smoothing is not None:
        for before, after in _pairs(model):
            _smooth(before, after, extremes, smoothing)
    tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for name, layer in layers.items():
        weight = layer.weight.detach()
        scale = (weight.abs().amax(dim=1, keepdim=True) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
        scale = (scale.view(torch.int32) & EXACT_BITS).view(torch.float32)
        tensors[f"{name}.weight"] = (weight / scale).round().clamp(-LEVELS, LEVELS).to(torch.int8)
        tensors[f"{name}.weight{SCALE}"] = scale
        low, high = extremes[layer]
        tensors[f"{name}{RANGE}"] = torch.stack(
            [low.amin(dim=1).mean().clamp(max=0), high.amax(dim=1).mean().clamp(min=SMALLEST)]
        )
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


def _extremes(model: FrozenTransformer, layers: dict[str, nn.Linear], views: Iterable[torch.Tensor]) -> _Extremes:
    lows, highs = defaultdict(list), defaultdict(list)

    def note(layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        tokens = inputs[0].flatten(1, -2) if inputs[0].ndim > 2 else inputs[0].unsqueeze(1)  # noqa: PLR2004
        lows[layer].append(tokens.amin(dim=1))
        highs[layer].append(tokens.amax(dim=1))

    with ExitStack() as hooks, torch.no_grad():
        for layer in layers.values():
            hooks.callback(layer.register_forward_pre_hook(note).remove)
        for batch in views:
            model(batch)
    return {layer: (torch.cat(lows[layer]), torch.cat(highs[layer])) for layer in layers.values()}


def _smooth(before: nn.LayerNorm, after: list[nn.Linear], extremes: _Extremes, smoothing: float) -> None:
    low, high = extremes[after[0]]
    inputs = torch.maximum(low.abs(), high.abs()).amax(dim=0).clamp(min=SMALLEST)
    weights = torch.stack([layer.weight.abs().amax(dim=0) for layer in after]).amax(dim=0).clamp(min=SMALLEST)
    factor = inputs**smoothing / weights ** (1 - smoothing)
    with torch.no_grad():
        before.weight.div_(factor)
        before.bias.div_(factor)
        for layer in after:
            layer.weight.mul_(factor)
            extremes[layer] = tuple(extreme / factor for extreme in extremes[layer])
