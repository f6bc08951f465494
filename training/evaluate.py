"""Stage `evaluate`: the figures of the finished model on sources that training never saw."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml

from handler.spec import ModelSpec
from training import figures
from training.command_line import parse_command_line
from training.data import LABELS, Photo, Split
from training.datamodule import PhotoDataModule
from training.params import Params
from training.paths import Paths
from training.predict import predict

HELD_OUT: tuple[Split, ...] = ("dev", "test")


def run(params: Params, paths: Paths) -> dict[str, Any]:
    """Evaluate on dev and test, write the figures and the data's summary as JSON, and return them."""
    spec = ModelSpec.from_mapping(yaml.safe_load(paths.spec.read_text(encoding="utf-8")))
    data = PhotoDataModule(params)
    data.setup()
    report = {
        "model_version": spec.version,
        "data": _summary(data.photos),
        "splits": {split: _evaluate_split(data, paths, split, spec) for split in HELD_OUT},
    }
    paths.metrics.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _evaluate_split(data: PhotoDataModule, paths: Paths, split: Split, spec: ModelSpec) -> dict[str, Any]:
    photos, logits = predict(data, paths, split)
    probabilities = (logits / spec.temperature).sigmoid()
    trained_on = {photo.source for photo in data.photos if photo.split == "train"}
    unseen = [index for index, photo in enumerate(photos) if photo.source not in trained_on]

    def overall(chosen: list[int]) -> figures.Figures | None:
        subset = [photos[index] for index in chosen]
        if {photo.label for photo in subset} != set(LABELS):
            return None  # nothing to tell apart
        return figures.overall(subset, probabilities[chosen], spec.threshold, data.params.evaluate.bootstrap_samples)

    return {
        "unseen_sources": overall(unseen),
        "all_sources": overall(list(range(len(photos)))),
        "by_source": figures.by_source(photos, probabilities, spec.threshold),
        "sources_in_train": sorted({photo.source for photo in photos} & trained_on),
    }


def _summary(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    rows = Counter((p.split, p.label, p.source, p.generator, p.licence) for p in photos)
    names = ("split", "label", "source", "generator", "licence")
    return [dict(zip(names, row, strict=True)) | {"n": count} for row, count in sorted(rows.items())]


def main() -> None:
    """Run the stage from the command line."""
    params, paths, _ = parse_command_line("evaluate")
    for split, result in run(params, paths)["splits"].items():
        print(split, json.dumps(result["unseen_sources"], indent=2))


if __name__ == "__main__":
    main()
