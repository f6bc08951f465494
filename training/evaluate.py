"""Stage `evaluate`: the figures of the finished model on sources that training never saw.

`metrics.json` holds the headline, `tables.json` what is long. The command ends with the gate.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from handler import heads, images, network
from handler.detector import Detector, Item
from handler.spec import ModelSpec
from training import files
from training.data.manifest import LABELS, Photo, read_manifest
from training.evaluation import figures, goals, plots, robustness
from training.params import EvaluateParams, Params
from training.tracking import stage

LEAST_OF_A_GENERATOR = 5
"""Photos; of fewer a figure says nothing."""
WORST = 12
"""Errors of each kind on the page."""
THUMBNAIL = 208
"""Pixels, long side."""
_BATCH = 4


def run(params: Params, paths: files.Paths) -> dict[str, Any]:
    """Evaluate on dev and, if asked for, on test; return what `metrics.json` holds, with tables, plots and the page.

    Raises:
        StageError: The data folder breaks a rule, or the run has not been calibrated.
    """
    spec, calibration = files.read_spec(paths), files.read_json(paths.calibration, "calibrate")
    photos = read_manifest(params.data.root, params.data.manifest)
    splits = robustness.predict_splits(params, paths, photos)
    headline = {name: split.headline() for name, split in splits.items()}
    samples = params.evaluate.bootstrap_samples
    base_rates = {name: point["base_rate"] for name, point in calibration["operating_points"].items()}
    matrices = {name: robustness.matrix(s.photos, s.logits, spec, samples) for name, s in headline.items()}
    metrics: dict[str, Any] = {
        "model_version": spec.version,
        **{name: getattr(spec, name) for name in ("temperature", "offset", "base_rate", "operating_point")},
        "splits": {name: _headline(split, spec, params.evaluate) for name, split in splits.items()},
        "operating_points": {
            name: goals.rates_at(base_rates, s.photos, s.logits[robustness.CLEAN], spec, samples)
            for name, s in headline.items()
        },
        "robustness": {name: {"worst": robustness.worst(rows)} | rows for name, rows in matrices.items()},
    }
    tables = {name: _tables(split, spec, samples) for name, split in splits.items()}
    files.write_json(paths.metrics, metrics)
    files.write_json(
        paths.tables,
        {
            "model_version": spec.version,
            "splits": tables,
            "product_domains": params.evaluate.product_domains,
            "data": _summary(photos),
        },
    )
    scored = {name: split.scored(spec) for name, split in headline.items()}
    shutil.rmtree(paths.figures / "evaluate", ignore_errors=True)  # an older run may have drawn what this one cannot
    plots.draw_scores(scored, paths.figures / "evaluate")
    plots.draw_tables(tables, matrices, paths.figures / "evaluate")
    plots.write_curves(scored, paths.curves)
    write_page(params, paths, {name: split.scored(spec) for name, split in splits.items()})
    return files.read_json(paths.metrics, "evaluate")


def _headline(split: robustness.HeldOut, spec: ModelSpec, params: EvaluateParams) -> dict[str, Any]:
    scored, samples = split.scored(spec), params.bootstrap_samples
    unseen = scored.that(split.unseen)
    parts = {"unseen_sources": unseen, "all_sources": scored}
    return {
        "unseen_sources": figures.overall(unseen, samples) if unseen.has_both_classes else None,
        "all_sources": figures.overall(scored, samples),
        "product_photos": {name: _false_alarms(part, params) for name, part in parts.items()},
    }


def _false_alarms(scored: figures.Scored, params: EvaluateParams) -> figures.Figures | None:
    products = scored.where(~scored.generated).that(lambda photo: photo.domain in params.product_domains)
    if not products.photos:
        return None
    share = figures.flagged_share(products, params.bootstrap_samples)
    return {"n": share["n"], "false_positive_rate": share["flagged"], "false_positive_rate_ci95": share["flagged_ci95"]}


def _tables(split: robustness.HeldOut, spec: ModelSpec, samples: int) -> dict[str, Any]:
    scored = split.scored(spec)
    generators = figures.breakdown(scored, samples, lambda photo: photo.generator, LEAST_OF_A_GENERATOR)
    return {
        "by_source": figures.breakdown(scored, samples, lambda photo: photo.source),
        "by_generator": {name: row for name, row in generators.items() if not name.startswith("real/")},
        "by_domain": figures.breakdown(scored, samples, lambda photo: photo.domain),
        "sources_in_train": sorted({photo.source for photo in split.photos} & split.trained_on),
    }


def _summary(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    rows = Counter((p.split, p.label, p.source, p.generator, p.licence) for p in photos)
    names = ("split", "label", "source", "generator", "licence")
    return [dict(zip(names, row, strict=True)) | {"n": count} for row, count in sorted(rows.items())]


def write_page(params: Params, paths: files.Paths, splits: Mapping[str, figures.Scored]) -> None:
    """Write the page, self-contained, from the reports and plots beside it and from each split's verdicts."""
    metrics, spec = files.read_json(paths.metrics, "evaluate"), files.read_spec(paths)
    engine = network.TorchEngine.load(paths.weights, spec, torch.device("cpu"))
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
        calibration=files.read_json(paths.calibration, "calibrate"),
        goals=goals.goals(metrics, files.read_optional_json(paths.data_validation)),
        conditions=robustness.DESCRIPTIONS,
        plots=[
            {"title": f"{file.parent.name}: {file.stem}", "uri": files.data_uri(file.read_bytes(), "png")}
            for file in sorted(paths.figures.rglob("*.png"), reverse=True)  # those of this stage first
        ],
        grids=grids,
        worst=WORST,
    )


def worst(scored: figures.Scored, label: str) -> figures.Scored:
    """Return the images of a label whose prediction is wrong, the most confident ones first."""
    order, generated = (-1, False) if label == LABELS[0] else (1, True)
    wrong = (scored.flagged != scored.generated) & (scored.generated == generated)
    ranked = np.argsort(order * scored.probabilities, kind="stable").tolist()
    chosen = [index for index in ranked if wrong[index]][:WORST]
    return figures.Scored([scored.photos[index] for index in chosen], scored.probabilities[chosen], scored.base_rate)


def explain(detector: Detector, root: Path, wrong: figures.Scored, description: str) -> list[dict[str, Any]]:
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
    image = images.decode(content)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return files.jpeg_uri(image, quality=80)


def flat(metrics: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Return the numbers of nested metrics under names like `test/unseen_sources/auroc`; lists are left out."""
    found: dict[str, float] = {}
    for key, value in metrics.items():
        name = f"{prefix}/{key}".removeprefix("/")
        if isinstance(value, Mapping):
            found |= flat(value, name)
        elif isinstance(value, int | float):
            found[name] = float(value)
    return found


def main() -> None:
    """Run the stage from the command line, and the gate after it."""
    with stage("evaluate") as (params, paths, log):
        metrics = run(params, paths)
        log.metrics(flat(metrics["splits"], "") | flat(metrics["robustness"], "robustness"))
        for written in (paths.metrics, paths.tables, paths.figures / "evaluate", paths.evaluation_page):
            log.artifact(written)
    with files.refusals("evaluate"):
        print(goals.run(params, paths))


if __name__ == "__main__":
    main()
