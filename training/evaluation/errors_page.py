"""The page of an evaluation: headline, goals, plots, robustness, and the worst errors with their heat maps."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from handler import heads
from handler.detector import Detector, Item, Prediction
from handler.images import decode
from handler.network import TorchEngine
from training import files as pages
from training.data.manifest import LABELS, Photo
from training.evaluation.figures import Scored
from training.evaluation.goals import goals
from training.evaluation.robustness import DESCRIPTIONS
from training.files import Paths, data_uri, read_json, read_optional_json, read_spec
from training.params import Params

WORST = 12
THUMBNAIL = 208
"""Pixels, long side."""
_BATCH = 4


@dataclass(frozen=True)
class Mistake:
    """A wrong verdict with its images, JPEG as data URIs."""

    photo: Photo
    probability: float
    picture: str
    heatmap: str


def worst(scored: Scored, label: str) -> Scored:
    """Return the images of a label whose prediction is wrong, the most confident ones first."""
    order, generated = (-1, False) if label == LABELS[0] else (1, True)
    wrong = (scored.flagged != scored.generated) & (scored.generated == generated)
    ranked = np.argsort(order * scored.probabilities, kind="stable").tolist()
    chosen = [index for index in ranked if wrong[index]][:WORST]
    return Scored([scored.photos[index] for index in chosen], scored.probabilities[chosen], scored.base_rate)


def explain(detector: Detector, root: Path, wrong: Scored, description: str) -> list[Mistake]:
    """Predict misclassified images again, with heat maps and a progress bar."""
    mistakes = []
    for start in track(range(0, len(wrong.photos), _BATCH), description):
        some = wrong.photos[start : start + _BATCH]
        contents = [(root / photo.path).read_bytes() for photo in some]
        answers = detector.predict([Item(content, explain=True) for content in contents])
        mistakes += [_mistake(*found) for found in zip(some, contents, answers, strict=True)]
    return mistakes


def _mistake(photo: Photo, content: bytes, answer: Prediction | Exception) -> Mistake:
    if isinstance(answer, Exception):
        raise answer  # the same bytes were predicted a moment ago
    heatmap = decode(answer.heatmap or content)
    return Mistake(photo, answer.verdict.probability, _thumbnail(decode(content)), _thumbnail(heatmap))


def _thumbnail(image: Image.Image) -> str:
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    saved = io.BytesIO()
    image.save(saved, "JPEG", quality=80)
    return data_uri(saved.getvalue(), "jpeg")


def write(params: Params, paths: Paths, splits: Mapping[str, Scored]) -> None:
    """Write the page, self-contained, from the reports and plots beside it and from each split's verdicts."""
    metrics = read_json(paths.metrics, "evaluate")
    pages.write(
        paths.evaluation_page,
        metrics=metrics,
        calibration=read_json(paths.calibration, "calibrate"),
        goals=goals(metrics, read_optional_json(paths.data_validation)),
        conditions=DESCRIPTIONS,
        plots=[
            {"title": f"{file.parent.name}: {file.stem}", "uri": data_uri(file.read_bytes(), "png")}
            for file in sorted(paths.figures.rglob("*.png"), reverse=True)  # those of this stage first
        ],
        grids=_grids(params, paths, splits),
        worst=WORST,
    )


def _grids(params: Params, paths: Paths, splits: Mapping[str, Scored]) -> list[dict[str, Any]]:
    spec = read_spec(paths)
    engine = TorchEngine.load(paths.weights, spec, torch.device("cpu"))
    detector = Detector(spec, engine, heads.load(paths.weights, spec))
    grids = []
    for name, scored in splits.items():
        for kind, label in (("false alarms", LABELS[0]), ("misses", LABELS[1])):
            members = scored.generated == (label == LABELS[1])
            errors = int((members & (scored.flagged != scored.generated)).sum())
            found = explain(detector, params.data.root, worst(scored, label), f"explaining {kind} of {name}")
            grids.append({"title": f"{name}: {kind}", "errors": errors, "total": int(members.sum()), "worst": found})
    return grids
