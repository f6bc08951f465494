"""The detector: weights and spec on a device, judging batches of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from handler import gradcam, network
from handler.decision import Verdict, decide
from handler.images import BadImageError, decode
from handler.spec import ModelSpec
from handler.transforms import Views, to_views


@dataclass(frozen=True)
class Item:
    """One picture to judge, as it was received."""

    data: bytes | bytearray
    explain: bool = False


@dataclass(frozen=True)
class Judged:
    """A verdict, with the heat map's JPEG where it was asked for."""

    verdict: Verdict
    heatmap: bytes | None = None


class Detector:
    """Judges mixed batches of predictions and explanations; not safe to share between threads (Grad-CAM hooks)."""

    def __init__(self, spec: ModelSpec, model: nn.Module, device: torch.device) -> None:
        self.spec = spec
        self.model = model.eval().to(device)
        self.device = device

    @classmethod
    def load(cls, spec: ModelSpec, weights: Path, device: torch.device) -> Self:
        """Build the spec's network and fill it from a safetensors file."""
        model = network.build(spec)
        model.load_state_dict(load_file(weights))
        return cls(spec, model, device)

    def warm_up(self) -> None:
        """Judge and explain a blank picture, so that no request pays for lazy imports and first allocations."""
        size = self.spec.input_size
        self._judge_pictures([Image.new("RGB", (size, size))], explain=[True])

    def judge(self, items: Sequence[Item]) -> list[Judged | BadImageError]:
        """Judge each item at its own index: one forward for all that decode, one Grad-CAM for those that asked."""
        pictures: dict[int, Image.Image] = {}
        answers: dict[int, Judged | BadImageError] = {}
        for index, item in enumerate(items):
            try:
                pictures[index] = decode(item.data)
            except BadImageError as error:
                answers[index] = error
        if pictures:
            explain = [items[index].explain for index in pictures]
            answers |= zip(pictures, self._judge_pictures(list(pictures.values()), explain), strict=True)
        return [answers[index] for index in range(len(items))]

    def _judge_pictures(self, pictures: Sequence[Image.Image], explain: Sequence[bool]) -> list[Judged]:
        seen = [to_views(picture, self.spec) for picture in pictures]
        inputs = [torch.stack(alike).to(self.device) for alike in zip(*seen, strict=True)]
        with torch.inference_mode():
            logits = network.judge_views(self.model, inputs).tolist()
        verdicts = [decide(logit, self.spec) for logit in logits]
        asked = [index for index, wanted in enumerate(explain) if wanted]
        heatmaps = self._heatmaps(asked, inputs, verdicts, pictures) if asked else {}
        return [Judged(verdict, heatmaps.get(index)) for index, verdict in enumerate(verdicts)]

    def _heatmaps(
        self, asked: list[int], inputs: Views, verdicts: Sequence[Verdict], pictures: Sequence[Image.Image]
    ) -> dict[int, bytes]:
        positive = [verdicts[index].prediction == self.spec.labels[1] for index in asked]
        chosen = [alike[asked] for alike in inputs]
        maps = gradcam.heat_maps(self.model, chosen, torch.tensor(positive, device=self.device))
        return {
            index: gradcam.overlay(pictures[index], [heat for alike in maps for heat in alike[place]], self.spec)
            for place, index in enumerate(asked)
        }
