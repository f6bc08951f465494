"""Stage `evaluate`: the figures of the finished model on sources that training never saw.

`metrics.json` holds the headline, `tables.json` what is long. The command ends with the gate.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from handler.spec import ModelSpec
from training.data.manifest import Photo, read_manifest
from training.evaluation import figures, goals, pages, robustness
from training.evaluation.figures import Scored
from training.evaluation.goals import rates_at
from training.evaluation.plots import draw_scores, draw_tables, write_curves
from training.evaluation.robustness import CLEAN, HeldOut
from training.files import Paths, read_json, read_spec, refusals, write_json
from training.params import EvaluateParams, Params
from training.tracking import stage

LEAST_OF_A_GENERATOR = 5
"""Photos; of fewer a figure says nothing."""


def run(params: Params, paths: Paths) -> dict[str, Any]:
    """Evaluate on dev and, if asked for, on test; return what `metrics.json` holds, with tables, plots and the page.

    Raises:
        StageError: The data folder breaks a rule, or the run has not been calibrated.
    """
    spec, calibration = read_spec(paths), read_json(paths.calibration, "calibrate")
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
            name: rates_at(base_rates, s.photos, s.logits[CLEAN], spec, samples) for name, s in headline.items()
        },
        "robustness": {name: {"worst": robustness.worst(rows)} | rows for name, rows in matrices.items()},
    }
    tables = {name: _tables(split, spec, samples) for name, split in splits.items()}
    write_json(paths.metrics, metrics)
    write_json(
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
    draw_scores(scored, paths.figures / "evaluate")
    draw_tables(tables, matrices, paths.figures / "evaluate")
    write_curves(scored, paths.curves)
    pages.write_page(params, paths, {name: split.scored(spec) for name, split in splits.items()})
    return read_json(paths.metrics, "evaluate")


def _headline(split: HeldOut, spec: ModelSpec, params: EvaluateParams) -> dict[str, Any]:
    scored, samples = split.scored(spec), params.bootstrap_samples
    unseen = scored.that(split.unseen)
    parts = {"unseen_sources": unseen, "all_sources": scored}
    return {
        "unseen_sources": figures.overall(unseen, samples) if unseen.has_both_classes else None,
        "all_sources": figures.overall(scored, samples),
        "product_photos": {name: _false_alarms(part, params) for name, part in parts.items()},
    }


def _false_alarms(scored: Scored, params: EvaluateParams) -> figures.Figures | None:
    products = scored.where(~scored.generated).that(lambda photo: photo.domain in params.product_domains)
    if not products.photos:
        return None
    share = figures.flagged_share(products, params.bootstrap_samples)
    return {"n": share["n"], "false_positive_rate": share["flagged"], "false_positive_rate_ci95": share["flagged_ci95"]}


def _tables(split: HeldOut, spec: ModelSpec, samples: int) -> dict[str, Any]:
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
    with refusals("evaluate"):
        print(goals.run(params, paths))


if __name__ == "__main__":
    main()
