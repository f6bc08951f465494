"""Lightning's view of a packed detector, and what it does with its verdicts."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import pytorch_lightning as pl
import torch

from handler import network
from handler.cpus import cpus
from handler.decision import Verdict, decide
from handler.engine import Engine
from handler.openvino_engine import AUTO
from handler.spec import ModelSpec
from training.scoring.archive import Packed
from training.scoring.batches import Batch
from training.scoring.results import Results

ENGINE_PRECISIONS: Final = {AUTO: AUTO, "32-true": "f32", "bf16-true": "bf16"}
"""The engine's names for those of Lightning's that it has; by default it computes in what it serves in."""


class ScoringModule(pl.LightningModule):
    """The served network, predicting batches: in PyTorch on GPUs, and on CPUs by the engine that serves there."""

    def __init__(self, packed: Packed, precision: str = AUTO, threads: int = 0) -> None:
        """`precision`: Lightning's name or `auto`; `threads` of the CPU that an engine has, 0: all that it may use."""
        super().__init__()
        self.network = network.PixelNetwork(packed.model, packed.spec).to(memory_format=torch.channels_last)
        self._packed = packed
        self._precision = ENGINE_PRECISIONS.get(precision)
        self._threads = threads or cpus()

    def predict_step(self, batch: Batch, batch_index: int) -> torch.Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the logits of the images that can be decoded, shape (N,), float32."""
        if not batch.pixels:
            return torch.empty(0)
        if self._engine is not None:
            pictures = list(zip(*batch.pixels, strict=True))
            return torch.tensor([one.logit for one in self._engine.run(pictures, [False] * len(pictures))])
        logits = [self.network(alike.flatten(0, 1))[0].float().view(alike.shape[:2]) for alike in batch.pixels]
        return torch.cat(logits, dim=1).mean(dim=1)

    @cached_property
    def _engine(self) -> Engine | None:
        """Compiled at the first batch, when the processes that decode have long been forked."""
        if self.device.type != "cpu" or self._precision is None or self._packed.graph is None:
            return None
        return self._packed.engine(self._threads, self._precision)


class ShardWriter(pl.Callback):
    """Writes a shard as soon as its last batch is predicted.

    Not Lightning's BasePredictionWriter, which counts images by its own sampler.
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
