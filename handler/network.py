"""The network: a timm backbone with one logit, either a convolutional network or a frozen vision transformer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import timm
import torch
from safetensors.torch import load_file
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import nn

from handler.engines import Forward
from handler.heads import HEAD_WIDTH, LastBlock, TransformerHead, read_weights
from handler.spec import ModelSpec
from handler.transforms import Pixels, Views, normalise


class PixelNetwork(nn.Module):
    """A network from pixels on, with all that serving wants of one forward."""

    model: Any  # timm's, with methods that no nn.Module has

    def __init__(self, model: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.model = model
        self.spec = spec

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits, shape (N, 1), and last feature maps, shape (N, C, h, w), of uint8 pixels (N, H, W, 3)."""
        views = normalise(pixels, self.spec).to(next(self.model.parameters()).dtype)
        features = self.model.forward_features(views)
        return self.model.forward_head(features), features


class FrozenTransformer(nn.Module):
    """The first blocks of a vision transformer, frozen, and the head that reads their class tokens."""

    def __init__(self, transformer: Any, spec: ModelSpec) -> None:  # noqa: ANN401 - timm's, which has no types
        """Take over a timm VisionTransformer's layers.

        Raises:
            ValueError: It has fewer blocks than the spec's, or is of a kind that this class cannot run.
        """
        super().__init__()
        if len(transformer.blocks) < spec.blocks:
            raise ValueError(
                f"model spec: {spec.architecture} has {len(transformer.blocks)} blocks, not {spec.blocks} (blocks)"
            )
        self.read_blocks = spec.read_blocks
        self.patch_embed, self.norm_pre = transformer.patch_embed, transformer.norm_pre
        self.cls_token, self.pos_embed = transformer.cls_token, transformer.pos_embed
        self.blocks = transformer.blocks[: spec.blocks - 1]
        last = transformer.blocks[spec.blocks - 1]
        self.requires_grad_(requires_grad=False)
        self.head = TransformerHead(spec, last.mlp.fc1.in_features, last.mlp.fc1.out_features)
        _take_over(self.head.block, last)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the head reads, shape (N, K - 1 + T, C); see `TransformerHead`."""
        entering = self._tokens(x)
        read = [entering[block][:, :1] for block in self.read_blocks[:-1]]
        return torch.cat([*read, entering[-1]], dim=1)

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (N, 1), of what `forward_features` returned."""
        logits: torch.Tensor = self.head(features)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (N, 1), of normalised views, shape (N, 3, H, W)."""
        return self.forward_head(self.forward_features(x))

    def class_tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Return the class token after every block that runs, shape (N, blocks, C), of normalised views."""
        entering = self._tokens(x)
        return torch.stack([*(tokens[:, 0] for tokens in entering[1:]), self.head.block(entering[-1])], dim=1)

    def _tokens(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the tokens that enter each block that runs."""
        patches = self.patch_embed(x)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        entering = [self.norm_pre(tokens)]
        for block in self.blocks:
            entering.append(block(entering[-1]))
        return entering


def _take_over(ours: LastBlock, block: Any) -> None:  # noqa: ANN401 - timm's, which has no types
    """Freeze a last block with the weights of timm's.

    Raises:
        ValueError: It would not compute what timm's does.
    """
    weights = {
        f"norm{n}.{name}": tensor for n in (1, 2) for name, tensor in getattr(block, f"norm{n}").named_parameters()
    }
    for name, tensor in block.attn.qkv.named_parameters():
        weights[f"q.{name}"], weights[f"kv.{name}"] = tensor.tensor_split([len(tensor) // 3])
    for part, layer in (("proj", block.attn.proj), ("fc1", block.mlp.fc1), ("fc2", block.mlp.fc2)):
        weights |= {f"{part}.{name}": tensor for name, tensor in layer.named_parameters()}
    ours.load_state_dict(weights)
    ours.requires_grad_(requires_grad=False)
    probe = torch.linspace(-2, 2, 4 * ours.q.in_features).sin().view(1, 4, -1)
    if block.attn.head_dim != HEAD_WIDTH or not torch.allclose(ours(probe), block(probe)[:, 0], atol=1e-4):
        raise ValueError("model spec: architecture has other transformer blocks than CLIP's or the plain ViT's")


def build(spec: ModelSpec, *, pretrained: bool = False, tower: Path | None = None) -> nn.Module:
    """Return the spec's network; it maps (N, 3, H, W) to logits of shape (N, 1).

    `pretrained=True` loads the weights that timm has for the architecture, which takes a reachable model hub; `tower`
    loads those of a whole vision transformer from a safetensors file with timm's names.

    Raises:
        RuntimeError: The architecture is unknown, or the tower's tensors are not its own.
        ValueError: The architecture is no vision transformer that can run so many blocks.
    """
    if spec.blocks:
        return _build_transformer(spec, pretrained=pretrained, tower=tower)
    model: nn.Module = timm.create_model(spec.architecture, pretrained=pretrained, num_classes=1, drop_rate=0.2)
    nn.init.normal_(model.get_parameter("classifier.weight"), std=0.01)  # timm's own init gives one logit wild values
    return model


def _build_transformer(spec: ModelSpec, *, pretrained: bool, tower: Path | None) -> nn.Module:
    if spec.architecture.split(".")[0] not in timm.list_models(module="vision_transformer"):  # without pretrained tag
        raise ValueError(f"model spec: {spec.architecture} is no vision transformer of timm's (architecture)")
    transformer: Any = timm.create_model(
        spec.architecture, pretrained=pretrained, num_classes=0, img_size=spec.input_size
    ).eval()
    if tower:
        weights = {name: tensor for name, tensor in load_file(tower).items() if not name.startswith("head.")}
        positions = resample_abs_pos_embed(weights["pos_embed"], transformer.patch_embed.grid_size)
        transformer.load_state_dict(weights | {"pos_embed": positions})
    return FrozenTransformer(transformer, spec)


def load(spec: ModelSpec, weights: Path) -> nn.Module:
    """Return the spec's network with the weights of a safetensors file, in evaluation mode.

    Raises:
        OSError: The file cannot be read.
        safetensors.SafetensorError: It is no safetensors file.
        RuntimeError: Its tensors are not those of the network.
    """
    model = build(spec)
    model.load_state_dict(read_weights(weights))
    return model.eval()


def predict_views(model: nn.Module, views: Views) -> torch.Tensor:
    """Return one logit per image, shape (N,): the mean over its views, of each size a shape (N, V, 3, side, side)."""
    return torch.cat([model(_one_batch(alike)).view(alike.shape[:2]) for alike in views], dim=1).mean(dim=1)


def _one_batch(views: torch.Tensor) -> torch.Tensor:
    """Return views, shape (N, V, 3, H, W), as one batch of shape (N * V, 3, H, W), in the layout that is fastest."""
    return views.flatten(0, 1).contiguous(memory_format=torch.channels_last)


class TorchEngine:
    """Runs all views of one size of all images as one batch."""

    def __init__(self, model: nn.Module, spec: ModelSpec, device: torch.device) -> None:
        self._network = PixelNetwork(model, spec).eval().to(device).to(memory_format=torch.channels_last)
        self._device = device

    @classmethod
    def load(cls, weights: Path, spec: ModelSpec, device: torch.device) -> Self:
        """Build the spec's network and fill it from a safetensors file."""
        return cls(load(spec, weights), spec, device)

    def run(self, images: Sequence[Pixels], keep_features: Sequence[bool]) -> list[Forward]:
        """Return a forward for each image; see `Engine`."""
        logits, features = zip(*[self._one_size(alike) for alike in zip(*images, strict=True)], strict=True)
        means = torch.cat(logits, dim=1).mean(dim=1).tolist()
        return [
            Forward(mean, [alike[index].float().cpu() for alike in features] if keep else ())
            for index, (mean, keep) in enumerate(zip(means, keep_features, strict=True))
        ]

    def _one_size(self, views: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits, shape (N, V), and features, shape (N, V, C, h, w), of N images' V views of one size."""
        pixels = torch.cat(list(views))
        if self._device.type == "cuda":
            pixels = pixels.pin_memory()
        with torch.no_grad(), torch.autocast("cuda", torch.float16, enabled=self._device.type == "cuda"):
            logits, features = self._network(pixels.to(self._device, non_blocking=True))
        shape = (len(views), -1)
        return logits.float().view(shape), features.unflatten(0, shape)
