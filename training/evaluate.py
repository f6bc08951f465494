"""Stage `evaluate`: the figures of the finished model on sources that training never saw."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml

from handler.spec import ModelSpec
from training import figures
from training.data import Photo, Split, read_manifest
from training.params import Params, Paths, parse_command_line
from training.predict import predict

UNSEEN: tuple[Split, ...] = ("dev", "test")


def run(params: Params, paths: Paths) -> dict[str, Any]:
    """Evaluate on dev and test, write the figures and the data's summary as JSON, and return them."""
    spec = ModelSpec.from_mapping(yaml.safe_load(paths.spec.read_text(encoding="utf-8")))
    photos = read_manifest(params.data.root, params.data.manifest)
    report = {
        "model_version": spec.version,
        "data": _summary(photos),
        "splits": {split: _evaluate_split(params, paths, split, spec) for split in UNSEEN},
    }
    paths.metrics.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _evaluate_split(params: Params, paths: Paths, split: Split, spec: ModelSpec) -> dict[str, Any]:
    photos, logits = predict(params, paths, split)
    probabilities = (logits / spec.temperature).sigmoid()
    return {
        "overall": figures.overall(photos, probabilities, spec.threshold, params.evaluate.bootstrap_samples),
        "by_source": figures.by_source(photos, probabilities, spec.threshold),
    }


def _summary(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    rows = Counter((p.split, p.label, p.source, p.generator, p.licence) for p in photos)
    names = ("split", "label", "source", "generator", "licence")
    return [dict(zip(names, row, strict=True)) | {"n": count} for row, count in sorted(rows.items())]


def main() -> None:
    """Run the stage from the command line."""
    params, paths, _ = parse_command_line("evaluate")
    for split, result in run(params, paths)["splits"].items():
        print(split, json.dumps(result["overall"], indent=2))


if __name__ == "__main__":
    main()
