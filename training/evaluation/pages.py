"""What people read of an evaluation, from the reports alone: the model card, and the page with the worst errors."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
import yaml
from rich.progress import track

from handler import heads
from handler.detector import Detector, Item
from handler.images import decode
from handler.network import TorchEngine
from handler.spec import ModelSpec
from training import files
from training.data.manifest import LABELS
from training.evaluation.figures import Scored
from training.evaluation.goals import goals, headline_split
from training.evaluation.robustness import DESCRIPTIONS
from training.files import Paths, read_json, read_optional_json
from training.params import Params

WORST = 12
THUMBNAIL = 208
"""Pixels, long side."""
_BATCH = 4


def model_card(spec: ModelSpec, used: Mapping[str, Any], paths: Paths) -> str:
    """Return the card of a calibrated spec as Markdown; `used` are the parameters of the training run.

    Models that ship beside it have their figures in the store, as `metrics-NAME.json`.

    Raises:
        StageError: The run has not been calibrated or evaluated.
    """
    metrics, tables = read_json(paths.metrics, "evaluate"), read_json(paths.tables, "evaluate")
    validation = read_optional_json(paths.data_validation)
    sections = {name: used[name] for name in ("model", "train", "augment")}
    return files.render(
        "model_card.md",
        spec=spec,
        metrics=metrics,
        tables=tables["splits"],
        others=[read_json(file, "evaluate") for file in sorted(paths.store.glob("metrics-*.json"))],
        calibration=read_json(paths.calibration, "calibrate"),
        crossvalidation=read_optional_json(paths.crossvalidation),
        leaks=(validation or {}).get("leaks"),
        goals=goals(metrics, validation),
        conditions=DESCRIPTIONS,
        predicted_on=headline_split(metrics),
        product_domains=tables["product_domains"],
        plots=_plot_links(paths),
        weights=PurePath(used["model"]["weights"]).name,
        spec_yaml=yaml.safe_dump(spec.to_mapping(), sort_keys=False),
        params_yaml=yaml.safe_dump(sections, sort_keys=False),
        data=_data(tables["data"]),
    )


def _data(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return how many images of which source, generators and licence each split has."""
    counts: Counter[tuple[str, ...]] = Counter()
    generators: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        key = (row["split"], row["label"], row["source"], row["licence"])
        counts[key] += row["n"]
        generators[key].add(row["generator"])
    order = sorted(counts, key=lambda key: (("train", "dev", "test").index(key[0]), key))
    return [(*key[:3], ", ".join(sorted(generators[key])), key[3], str(counts[key])) for key in order]


def _plot_links(paths: Paths) -> list[tuple[str, str]]:
    """Return title and link, relative to the model store, of each plot that was drawn."""
    return [
        (f"{file.parent.name}: {file.stem.replace('_', ' ')}", os.path.relpath(file, paths.store).replace(os.sep, "/"))
        for file in sorted(paths.figures.rglob("*.png"))
    ]


def write_page(params: Params, paths: Paths, splits: Mapping[str, Scored]) -> None:
    """Write the page, self-contained, from the reports and plots beside it and from each split's verdicts."""
    metrics, spec = read_json(paths.metrics, "evaluate"), files.read_spec(paths)
    engine = TorchEngine.load(paths.weights, spec, torch.device("cpu"))
    detector = Detector(spec, engine, heads.load(paths.weights, spec))
    grids = []
    for name, scored in splits.items():
        for kind, label in (("false alarms", LABELS[0]), ("misses", LABELS[1])):
            members = scored.generated == (label == LABELS[1])
            errors = int((members & (scored.flagged != scored.generated)).sum())
            shown = explain(detector, params.data.root, worst(scored, label), f"explaining {kind} of {name}")
            grids.append({"title": f"{name}: {kind}", "errors": errors, "total": int(members.sum()), "worst": shown})
    files.write(
        paths.evaluation_page,
        metrics=metrics,
        calibration=read_json(paths.calibration, "calibrate"),
        goals=goals(metrics, read_optional_json(paths.data_validation)),
        conditions=DESCRIPTIONS,
        plots=[
            {"title": f"{file.parent.name}: {file.stem}", "uri": files.data_uri(file.read_bytes(), "png")}
            for file in sorted(paths.figures.rglob("*.png"), reverse=True)  # those of this stage first
        ],
        grids=grids,
        worst=WORST,
    )


def worst(scored: Scored, label: str) -> Scored:
    """Return the images of a label whose prediction is wrong, the most confident ones first."""
    order, generated = (-1, False) if label == LABELS[0] else (1, True)
    wrong = (scored.flagged != scored.generated) & (scored.generated == generated)
    ranked = np.argsort(order * scored.probabilities, kind="stable").tolist()
    chosen = [index for index in ranked if wrong[index]][:WORST]
    return Scored([scored.photos[index] for index in chosen], scored.probabilities[chosen], scored.base_rate)


def explain(detector: Detector, root: Path, wrong: Scored, description: str) -> list[dict[str, Any]]:
    """Predict misclassified images again, with a progress bar; return what the page shows of each."""
    mistakes = []
    for start in track(range(0, len(wrong.photos), _BATCH), description):
        some = wrong.photos[start : start + _BATCH]
        contents = [(root / photo.path).read_bytes() for photo in some]
        answers = detector.predict([Item(content, explain=True) for content in contents])
        for photo, content, answer in zip(some, contents, answers, strict=True):
            if isinstance(answer, Exception):
                raise answer  # the same bytes were predicted a moment ago
            pictures = {"picture": content, "heatmap": answer.heatmap or content}
            shown = {name: _thumbnail(data) for name, data in pictures.items()}
            mistakes.append({"photo": photo, "probability": answer.verdict.probability} | shown)
    return mistakes


def _thumbnail(content: bytes) -> str:
    image = decode(content)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return files.jpeg_uri(image, quality=80)
