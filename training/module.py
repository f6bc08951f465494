"""The LightningModule: the network, its loss and its schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.lr_scheduler import OneCycleLR
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC
from torchvision.transforms import v2

from handler import network
from handler.transforms import Views
from training.datamodule import Batch
from training.params import Params


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
        return network.judge_views(self.model, views)

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

    def predict_step(self, batch: Batch, batch_index: int) -> torch.Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the logits of one batch, shape (N,)."""
        return self.forward(batch[0]).float()

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
        loss = binary_cross_entropy_with_logits(logits, targets)
        self.log(f"{stage}/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss, logits
