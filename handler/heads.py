"""What lies between a network's features and its logit: what Grad-CAM differentiates, for each family of networks.

It needs PyTorch alone: timm would cost a CPU's worker seconds and 0.2 GB.
"""

import math
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from torch import nn

from handler.spec import ModelSpec

HEAD_WIDTH: Final = 64
"""Channels of an attention head, in all of timm's vision transformers from tiny to large."""
SCALE: Final = "_scale"
"""Suffix of the tensor that int8 weights are multiplied by, one number for each output channel."""


class PooledHead(nn.Module):
    """What timm's EfficientNets end with: the mean over the last feature map, and one linear layer."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Take the linear layer's weight, shape (1, C), and bias, shape (1,)."""
        super().__init__()
        self.features = nn.Identity()
        self.classifier = nn.Linear(weight.shape[1], 1)
        self.classifier.load_state_dict({"weight": weight, "bias": bias})
        self.eval()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (N, 1), of feature maps, shape (N, C, h, w)."""
        logits: torch.Tensor = self.classifier(self.features(features).mean(dim=(2, 3)))
        return logits


class LastBlock(nn.Module):
    """The last block of a vision transformer that runs, computed for its class token alone: a sixth of the work."""

    def __init__(self, spec: ModelSpec, width: int, hidden: int) -> None:
        """Take the width of tokens and of the hidden layer."""
        super().__init__()
        eps = 1e-5 if "clip" in spec.architecture else 1e-6
        self.norm1 = nn.LayerNorm(width, eps)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps)
        self.fc1 = nn.Linear(width, hidden)
        self.act = QuickGELU() if "quickgelu" in spec.architecture else nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the class token after this block, shape (N, C), of tokens before it, shape (N, T, C)."""
        normed = self.norm1(tokens)
        k, v = self.kv(normed).unflatten(-1, (2, -1, HEAD_WIDTH)).permute(2, 0, 3, 1, 4).unbind()
        q = self.q(normed[:, :1]).unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
        class_token = tokens[:, 0] + self.proj(attended.flatten(1))
        after: torch.Tensor = class_token + self.fc2(self.act(self.fc1(self.norm2(class_token))))
        return after


class QuickGELU(nn.Module):
    """OpenAI's approximation of GELU, which CLIP was trained with."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activation."""
        return x * torch.sigmoid(1.702 * x)


class TransformerHead(nn.Module):
    """The last block that runs, and the classifier of the class tokens that the spec's `read_blocks` name."""

    def __init__(self, spec: ModelSpec, width: int, hidden: int) -> None:
        """Take the width of tokens and of the last block's hidden layer."""
        super().__init__()
        self.earlier = len(spec.read_blocks) - 1
        self.features = nn.Identity()
        self.block = LastBlock(spec, width, hidden)
        read = width * len(spec.read_blocks)
        self.classifier = nn.Sequential(
            *([nn.Linear(read, spec.hidden), nn.GELU()] if spec.hidden else []), nn.Linear(spec.hidden or read, 1)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (N, 1), of features, shape (N, K - 1 + T, C).

        These are the class tokens after the K - 1 earlier blocks that are read, and the T tokens that enter the last.
        """
        first = self.earlier + 1
        side = math.isqrt(int(features.shape[1]) - first)
        patches = features[:, first:].transpose(1, 2).unflatten(2, (side, side))  # type: ignore[no-untyped-call]  # PyTorch's
        maps: torch.Tensor = self.features(patches)
        patches = maps.flatten(2).transpose(1, 2)
        after = self.block(torch.cat([features[:, self.earlier : first], patches], dim=1))
        logits: torch.Tensor = self.classifier(torch.cat([features[:, : self.earlier].flatten(1), after], dim=1))
        return logits


Head = PooledHead | TransformerHead


def load(weights: Path, spec: ModelSpec) -> Head:
    """Return the head of the spec's network with the weights of a safetensors file, in evaluation mode.

    Raises:
        ValueError: The network is none that Grad-CAM can explain.
    """
    if spec.blocks:
        found = read_weights(weights, "head.")
        hidden, width = found["block.fc1.weight"].shape
        head = TransformerHead(spec, width, hidden)
        head.load_state_dict(found)
        return head.eval()
    found = read_weights(weights, "classifier.")
    if "weight" not in found:
        raise ValueError("Grad-CAM needs a network of timm's EfficientNet family (a last layer named classifier)")
    return PooledHead(found["weight"], found["bias"])


def read_weights(file: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """Read a safetensors file, or the tensors of a prefix, which is taken off; int8 weights are returned in float32."""
    with safe_open(file, "pt") as opened:
        stored = {name: opened.get_tensor(name) for name in opened.keys() if name.startswith(prefix)}  # noqa: SIM118
    return {
        name.removeprefix(prefix): tensor * stored[name + SCALE] if tensor.dtype == torch.int8 else tensor
        for name, tensor in stored.items()
        if not name.endswith(SCALE)
    }
