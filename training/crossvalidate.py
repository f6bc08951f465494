"""Stage `crossvalidate`: how well training does on sources that it left out, fold by fold.

Each fold trains without some whole sources and is evaluated on them. The dev split keeps its part, it picks the epoch:
were that done on what is left out, the figures would flatter.
"""

import dataclasses
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from training import train
from training.data.manifest import LABELS, Photo, read_manifest, write_manifest
from training.evaluation import figures, plots
from training.files import Paths, StageError, read_json, write_csv, write_json
from training.model.module import Features, HeadModule, classifier, is_trained, read_features
from training.model.predict import predict, quiet
from training.params import Params
from training.tracking import stage

Fold = frozenset[str]
"""Names of sources that are left out together."""
Predicted = tuple[figures.Scored, list[float]]
"""Images that a fold left out, scored without calibration, and their logits."""
COLUMNS = ("path", "label", "source", "domain", "fold", "logit")
RANKING = ("n_real", "n_ai_generated", "auroc", "auroc_ci95", "average_precision", *figures.FALSE_ALARM_BUDGETS)


def assign(photos: Sequence[Photo], folds: int, seed: int) -> list[Fold]:
    """Distribute whole sources over folds of about equal size, so that each leaves out images of both classes.

    Within a class the largest sources are placed first, each where the fewest images of that class are (seeded where
    sizes tie); a source with both classes is left out whole. With more folds than a class has sources, each of its
    sources is left out several times, beside different ones of the other class; as many folds as the other class has
    sources are then the most there can be, and leave out its sources one at a time.

    Raises:
        StageError: A class has fewer than two sources, or a fold would leave nothing of it to train on.
    """
    sizes = {label: Counter(photo.source for photo in photos if photo.label == label) for label in LABELS}
    for label, sources in sizes.items():
        if len(sources) < 2:  # noqa: PLR2004 - one to leave out, one to train on
            raise StageError(
                f"leave-sources-out needs two sources per class; {label} has {len(sources)}: "
                "set crossvalidate.folds to 0, or name the sources in the manifest"
            )
    left_out: list[set[str]] = [set() for _ in range(min(folds, max(map(len, sizes.values()))))]
    for label in sorted(LABELS, key=lambda label: -len(sizes[label])):
        other = sizes[LABELS[1 - LABELS.index(label)]]
        _place(sizes[label], left_out, seed)
        _fill(sizes[label], left_out, avoid=set(other))
    for fold in left_out:
        for label, sources in sizes.items():
            if not sources.keys() - fold:
                raise StageError(f"a fold would leave no {label} photo to train on: set crossvalidate.folds higher")
    return [frozenset(fold) for fold in left_out]


def _place(sizes: Counter[str], left_out: Sequence[set[str]], seed: int) -> None:
    """Put each source that has no fold yet where the fewest images of its class are."""
    names = sorted(sizes)
    np.random.default_rng(seed).shuffle(names)
    for name in sorted(names, key=lambda name: -sizes[name]):
        if not any(name in fold for fold in left_out):
            min(left_out, key=lambda fold: sum(sizes[other] for other in fold)).add(name)


def _fill(sizes: Counter[str], left_out: Sequence[set[str]], avoid: set[str]) -> None:
    """Leave out a source once more in each fold that has none of the class, those of one class first, in turn."""
    again = sorted(sizes.keys() - avoid) or sorted(sizes)
    lacking = [fold for fold in left_out if not fold & sizes.keys()]
    for turn, fold in enumerate(lacking):
        fold.add(again[turn % len(again)])


def run(params: Params, paths: Paths) -> dict[str, Any]:
    """Train and evaluate each fold; write the report, the left-out images' logits and a plot; return the report.

    Raises:
        StageError: The data folder breaks a rule, or its sources cannot be left out.
        StageError: The folds would start from a detector that may have seen what they leave out.
    """
    if params.crossvalidate.folds and is_trained(params.model.weights) and not params.model.blocks:
        raise StageError(
            f"{params.model.weights} may have seen the sources that a fold leaves out: set model.weights to package, "
            "hub or random, or crossvalidate.folds to 0"
        )
    photos = read_manifest(params.data.root, params.data.manifest)
    trained_on = [photo for photo in photos if photo.split == "train"]
    count = params.crossvalidate.folds
    folds = assign(trained_on, count, params.train.seed) if count else []
    shutil.rmtree(paths.folds, ignore_errors=True)
    features = read_features(params, paths) if params.model.blocks and folds else None
    predicted = []
    for number, fold in enumerate(folds, start=1):
        print(f"fold {number}/{len(folds)} leaves out {', '.join(sorted(fold))}", flush=True)
        if features:
            predicted.append(_predict_left_out(params, fold, *features))
        else:
            predicted.append(
                _train_without(params, photos, fold, Paths(paths.folds / str(number), paths.folds, paths.folds))
            )
    report = _report(params, folds, predicted)
    _write(report, predicted, paths)
    return read_json(paths.crossvalidation, "crossvalidate")


def _predict_left_out(params: Params, fold: Fold, train: Features, dev: Features) -> Predicted:
    """Train a head without the fold's sources; predict their images."""
    pl.seed_everything(params.train.seed, verbose=False)
    spec = params.model.spec()
    kept = train.where(lambda photo: photo.source not in fold)
    left_out = train.where(lambda photo: photo.source in fold)
    with quiet():
        trainer = pl.Trainer(
            max_epochs=params.train.epochs,
            accelerator=params.train.accelerator,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            deterministic=True,
        )
        module = HeadModule.fit(params, classifier(spec, train.tokens.shape[-1]), kept, trainer, dev)
    with torch.no_grad():
        logits = module(left_out.clean)
    return figures.score(left_out.photos, logits, spec), logits.tolist()


def _train_without(params: Params, photos: Sequence[Photo], fold: Fold, paths: Paths) -> Predicted:
    """Train without the fold's sources; predict their images."""
    train.run(_fold_params(params, photos, fold, paths.run), paths)
    left_out = [photo for photo in photos if photo.split == "train" and photo.source in fold]
    logits = predict(params, paths, left_out)
    shutil.rmtree(paths.checkpoints)  # of no more use, and large
    return figures.score(left_out, logits, params.model.spec()), logits.tolist()


def _fold_params(params: Params, photos: Sequence[Photo], fold: Fold, folder: Path) -> Params:
    """Write the fold's manifest, with absolute paths and without test, and return parameters that point there."""
    folder.mkdir(parents=True)
    kept = [photo for photo in photos if photo.split == "dev" or (photo.split == "train" and photo.source not in fold)]
    absolute = [dataclasses.replace(photo, path=str((params.data.root / photo.path).resolve())) for photo in kept]
    write_manifest(folder / "manifest.csv", absolute)
    epochs = params.crossvalidate.epochs
    return dataclasses.replace(
        params,
        data=dataclasses.replace(params.data, root=folder, manifest=Path("manifest.csv")),
        train=dataclasses.replace(params.train, epochs=epochs, early_stopping_patience=epochs),
    )


def _report(params: Params, folds: Sequence[Fold], predicted: Sequence[Predicted]) -> dict[str, Any]:
    """Return figures of each fold and of each left-out source, and their mean and spread."""
    samples = params.evaluate.bootstrap_samples
    if not folds:
        return {"folds": 0}
    found = [figures.overall(scored, samples) for scored, _ in predicted]
    by_fold = {str(n): {name: fold[name] for name in RANKING} for n, fold in enumerate(found, start=1)}
    by_source = _by_source([figures.breakdown(scored, samples, lambda photo: photo.source) for scored, _ in predicted])
    return {
        "folds": len(folds),
        "epochs": params.crossvalidate.epochs,
        "left_out": {str(number): sorted(fold) for number, fold in enumerate(folds, start=1)},
        "auroc": _spread([fold["auroc"] for fold in by_fold.values()]),
        "source_auroc": _spread([source["auroc"] for source in by_source.values()]),
        "by_fold": by_fold,
        "by_source": by_source,
    }


def _by_source(folds: Sequence[dict[str, figures.Figures]]) -> dict[str, dict[str, Any]]:
    """Return each left-out source's AUROC against the other class of its fold; the mean where it has several."""
    found: defaultdict[str, list[tuple[int, figures.Figures]]] = defaultdict(list)
    for number, sources in enumerate(folds, start=1):
        for name, row in sources.items():
            found[name].append((number, row))
    return {
        name: {
            "n": rows[0][1]["n"],
            "folds": [number for number, _ in rows],
            "auroc": float(np.mean([row["auroc"] for _, row in rows])),
            "auroc_ci95": np.mean([row["auroc_ci95"] for _, row in rows], axis=0).tolist(),
        }
        for name, rows in sorted(found.items())
    }


def _spread(values: Sequence[Any]) -> dict[str, float]:
    return {measure.__name__: float(measure(values)) for measure in (np.mean, np.std, min, max)}


def _write(report: dict[str, Any], predicted: Sequence[Predicted], paths: Paths) -> None:
    """Write report, logits and plot; without folds an empty table and an empty folder, in place of older ones."""
    rows = (
        (photo.path, photo.label, photo.source, photo.domain, number, logit)
        for number, (scored, logits) in enumerate(predicted, start=1)
        for photo, logit in zip(scored.photos, logits, strict=True)
    )
    write_csv(paths.out_of_fold, COLUMNS, rows)
    write_json(paths.crossvalidation, report)
    folder = paths.figures / "crossvalidate"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    title = "Sources left out of training: ranking against the other class of their fold"
    lines = [
        (f"fold {', '.join(map(str, row['folds']))}: {name}", row) for name, row in report.get("by_source", {}).items()
    ]
    plots.dots(lines, "auroc", title, folder / "sources.png")


def main() -> None:
    """Run the stage from the command line."""
    with stage("crossvalidate") as (params, paths, log):
        report = run(params, paths)
        if report["folds"]:
            auroc = {f"crossvalidate/auroc_{name}": value for name, value in report["auroc"].items()}
            log.metrics(auroc | {"crossvalidate/source_auroc_mean": report["source_auroc"]["mean"]})
        log.artifact(paths.crossvalidation)
    found = report.get("auroc")
    print(f"AUROC on left-out sources {found['mean']:.4f} (std {found['std']:.4f})" if found else "no folds asked for")


if __name__ == "__main__":
    main()
