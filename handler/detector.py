"""The detector: images to predictions and heat maps, batch by batch."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image

from handler import gradcam
from handler.engines import Engine, Forward
from handler.heads import Head
from handler.images import DEFAULT_LIMITS, BadImageError, Limits, reduced
from handler.spec import ModelSpec, Verdict, decide
from handler.statistics import measure
from handler.transforms import Box, Pixels, see


@dataclass(frozen=True)
class Item:
    """One image to predict, as it was received."""

    data: bytes | bytearray
    explain: bool = False
    limits: Limits = DEFAULT_LIMITS


@dataclass(frozen=True)
class Prediction:
    """A verdict, the statistics of its image, and the heat map's JPEG where it was asked for."""

    verdict: Verdict
    inputs: dict[str, float]
    heatmap: bytes | None = None


@dataclass(frozen=True)
class _Opened:
    """What the network sees of an image and where, its statistics and size, and a small copy for the heat map."""

    pixels: Pixels
    boxes: Sequence[Box]
    inputs: dict[str, float]
    size: tuple[int, int]
    preview: Image.Image | None


class Detector:
    """Predicts mixed batches of predictions and explanations; not to be shared between threads."""

    def __init__(self, spec: ModelSpec, engine: Engine, head: Head, threads: int = 1) -> None:
        self.spec = spec
        self.engine = engine
        self.head = head
        self._threads = ThreadPoolExecutor(threads)

    def warm_up(self, images: int) -> None:
        """Predict and explain batches of blanks up to so many, so that no request pays for what comes but once."""
        size = self.spec.input_size
        blank = self._see(Item(b"", explain=True), Image.new("RGB", (size, size)))
        for count in range(1, images + 1):
            self._predict([blank] * count)

    def predict(self, items: Sequence[Item]) -> list[Prediction | BadImageError]:
        """Predict each item at its own index: all that decode together, with a heat map for those that asked."""
        opened = list(self._threads.map(self._open, items))
        answers = iter(self._predict([one for one in opened if isinstance(one, _Opened)]))
        return [one if isinstance(one, BadImageError) else next(answers) for one in opened]

    def _open(self, item: Item) -> _Opened | BadImageError:
        try:
            return reduced(item.data, partial(self._see, item), item.limits)
        except BadImageError as error:
            return BadImageError(error.code)  # without a traceback, which would hold the decoded pixels

    def _see(self, item: Item, image: Image.Image) -> _Opened:
        inputs = measure(image, len(item.data))
        copy = gradcam.small(image) if item.explain else None
        return _Opened(*see(image, self.spec), inputs, image.size, copy)

    def _predict(self, opened: Sequence[_Opened]) -> list[Prediction]:
        if not opened:
            return []
        forwards = self.engine.run([one.pixels for one in opened], [one.preview is not None for one in opened])
        verdicts = [decide(forward.logit, self.spec) for forward in forwards]
        maps = list(map(self._heat_maps, forwards, verdicts))  # not in threads: Captum hooks into the one head
        return list(self._threads.map(self._answer, verdicts, maps, opened))

    def _heat_maps(self, forward: Forward, verdict: Verdict) -> list[torch.Tensor]:
        positive = verdict.prediction == self.spec.labels[1]
        return gradcam.heat_maps(self.head, forward.features, positive=positive)

    def _answer(self, verdict: Verdict, maps: Sequence[torch.Tensor], opened: _Opened) -> Prediction:
        if opened.preview is None:
            return Prediction(verdict, opened.inputs)
        return Prediction(verdict, opened.inputs, gradcam.overlay(opened.preview, maps, opened.boxes, opened.size))
