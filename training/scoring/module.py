"""Lightning's view of a packed detector, and what it does with its verdicts."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import nn

from handler import network
from handler.decision import Verdict, decide
from handler.spec import ModelSpec
from training.scoring.batches import Batch
from training.scoring.results import Results


class ScoringModule(pl.LightningModule):
    """The served network, judging batches."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)

    def predict_step(self, batch: Batch, batch_index: int) -> torch.Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the logits of the pictures that can be judged, shape (N,), float32."""
        return network.judge_views(self.model, batch.views).float() if batch.views else torch.empty(0)


class ShardWriter(pl.Callback):
    """Writes a shard as soon as its last batch is judged.

    Not Lightning's BasePredictionWriter, which counts pictures by its own sampler.
    """

    def __init__(self, results: Results, spec: ModelSpec) -> None:
        self.results = results
        self.spec = spec
        self._logits: list[torch.Tensor] = []
        self._codes: list[str | None] = []

    def on_predict_batch_end(  # noqa: PLR0913, PLR0917 - Lightning's signature
        self,
        trainer: pl.Trainer,  # noqa: ARG002 - Lightning's signature
        pl_module: pl.LightningModule,  # noqa: ARG002 - the same
        outputs: torch.Tensor,
        batch: Batch,
        batch_idx: int,  # noqa: ARG002 - the same
        dataloader_idx: int = 0,  # noqa: ARG002 - the same
    ) -> None:
        """Keep a batch's logits, on their device: reading them at once would make a GPU wait for every batch."""
        self._logits.append(outputs)
        self._codes += batch.codes
        if batch.ends_shard:
            self.results.write(batch.shard, self._found(), self.spec.version)
            self._logits, self._codes = [], []

    def _found(self) -> list[Verdict | str]:
        logits = iter([logit for batch in self._logits for logit in batch.tolist()])
        return [decide(next(logits), self.spec) if code is None else code for code in self._codes]
