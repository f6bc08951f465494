import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

from tests.training.conftest import Pipeline, Tiny
from tests.training.marks import NOISE
from tests.training.pictures import AI, REAL, photo
from training import crossvalidate
from training.crossvalidate import assign
from training.data.manifest import Photo, read_manifest
from training.files import Paths, StageError
from training.params import load

pytestmark = [pytest.mark.slow, *NOISE]
SOURCES = {f"{label}/{label}-{size}" for label in ("real", "ai_generated") for size in ("large", "small")}


def out_of_fold(paths: Paths) -> list[dict[str, str]]:
    with paths.out_of_fold.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_fold_trains_without_its_sources_and_picks_its_epoch_on_dev(pipeline: Pipeline) -> None:
    everything = read_manifest(pipeline.params.data.root, pipeline.params.data.manifest)
    for number, left_out in pipeline.crossvalidation["left_out"].items():
        folder = pipeline.paths.folds / number
        photos = read_manifest(folder, Path("manifest.csv"))
        assert {photo.split for photo in photos} == {"train", "dev"}
        trained = [photo for photo in photos if photo.split == "train"]
        kept = {photo.source for photo in everything if photo.split == "train"} - set(left_out)
        assert {photo.source for photo in trained} == kept
        assert len([photo for photo in photos if photo.split == "dev"]) == 12
        used = load(folder / "params.yaml").train
        assert (used.epochs, used.early_stopping_patience) == (1, 1)


def test_every_training_photo_is_predicted_once_by_a_model_that_did_not_see_its_source(pipeline: Pipeline) -> None:
    rows = out_of_fold(pipeline.paths)
    photos = [
        photo
        for photo in read_manifest(pipeline.params.data.root, pipeline.params.data.manifest)
        if photo.split == "train"
    ]
    assert list(rows[0]) == ["path", "label", "source", "domain", "fold", "logit"]
    assert sorted(row["path"] for row in rows) == sorted(photo.path for photo in photos)
    for row in rows:
        assert row["source"] in pipeline.crossvalidation["left_out"][row["fold"]]


def test_the_report_is_written_and_its_figures_follow_from_the_logits(pipeline: Pipeline) -> None:
    report = pipeline.crossvalidation
    assert json.loads(pipeline.paths.crossvalidation.read_text(encoding="utf-8")) == report
    assert (report["folds"], report["epochs"], set(report["by_source"])) == (2, 1, SOURCES)
    rows = out_of_fold(pipeline.paths)
    for number, fold in report["by_fold"].items():
        inside = [row for row in rows if row["fold"] == number]
        expected = roc_auc_score(
            [row["label"] == "ai_generated" for row in inside], [float(r["logit"]) for r in inside]
        )
        assert fold["auroc"] == pytest.approx(expected, abs=1e-6)
        assert fold["n_real"] + fold["n_ai_generated"] == len(inside)
    aurocs = [fold["auroc"] for fold in report["by_fold"].values()]
    assert report["auroc"]["mean"] == pytest.approx(sum(aurocs) / 2, abs=1e-6)
    assert (report["auroc"]["min"], report["auroc"]["max"]) == (min(aurocs), max(aurocs))


def test_no_folds_are_no_work_and_leave_nothing_of_an_older_run(tiny: Tiny, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "run", tmp_path / "store", tmp_path / "reports")
    stale = paths.figures / "crossvalidate" / "sources.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    assert crossvalidate.run(tiny("crossvalidate.folds=0"), paths) == {"folds": 0}
    assert json.loads(paths.crossvalidation.read_text(encoding="utf-8")) == {"folds": 0}
    assert out_of_fold(paths) == []
    assert not stale.exists()


def test_a_fold_that_leaves_nothing_to_train_on_stops_before_anything_is_removed(tiny: Tiny, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "run", tmp_path / "store", tmp_path / "reports")
    (paths.folds / "1").mkdir(parents=True)
    with pytest.raises(StageError, match="a fold would leave no real photo to train on"):
        crossvalidate.run(tiny("crossvalidate.folds=1"), paths)
    assert (paths.folds / "1").is_dir()


def test_folds_do_not_start_from_a_detector_that_may_have_seen_their_sources(tiny: Tiny, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "run", tmp_path / "store", tmp_path / "reports")
    with pytest.raises(StageError, match=r"^detector-1\.mar may have seen the sources"):
        crossvalidate.run(tiny("crossvalidate.folds=2", "model.weights=detector-1.mar"), paths)


def photos_of(real: dict[str, int], generated: dict[str, int]) -> list[Photo]:
    return [
        photo(label, source)
        for label, sources in ((REAL, real), (AI, generated))
        for source, size in sources.items()
        for _ in range(size)
    ]


TEN = photos_of({f"r{n}": 10 + n for n in range(4)}, {f"a{n}": 5 * n + 1 for n in range(10)})


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_every_source_is_left_out_once_and_every_fold_has_both_classes(folds: int) -> None:
    found = assign(TEN, folds, seed=0)
    assert len(found) == folds
    assert Counter(source for fold in found for source in fold) == dict.fromkeys({one.source for one in TEN}, 1)
    for fold in found:
        assert {one.label for one in TEN if one.source in fold} == {REAL, AI}


def test_folds_are_of_about_equal_size() -> None:
    sizes = [sum(one.source in fold for one in TEN) for fold in assign(TEN, 4, seed=0)]
    assert max(sizes) < 1.3 * min(sizes)


def test_the_same_seed_gives_the_same_folds() -> None:
    equal = photos_of(dict.fromkeys("abcdef", 5), dict.fromkeys("uvwxyz", 5))
    assert assign(equal, 3, seed=1) == assign(equal, 3, seed=1)
    assert {tuple(map(frozenset, assign(equal, 3, seed))) for seed in range(5)} != {tuple(assign(equal, 3, seed=1))}


def test_more_folds_than_real_sources_pair_each_ai_source_with_one_of_them() -> None:
    found = assign(TEN, 99, seed=0)
    assert len(found) == 10
    for fold in found:
        assert len([source for source in fold if source.startswith("a")]) == 1
        assert len([source for source in fold if source.startswith("r")]) == 1
    times = Counter(source for fold in found for source in fold if source.startswith("r"))
    assert set(times.values()) <= {2, 3, 4}


def test_a_source_with_both_classes_is_left_out_whole() -> None:
    mixed = photos_of({"shop": 10, "b": 10, "c": 10}, {"shop": 10, "x": 10, "y": 10})
    found = assign(mixed, 3, seed=0)
    assert sum("shop" in fold for fold in found) == 1
    for fold in found:
        assert {one.label for one in mixed if one.source in fold} == {REAL, AI}


def test_a_class_of_one_source_cannot_be_left_out() -> None:
    with pytest.raises(StageError, match=r"two sources per class; real has 1: set crossvalidate\.folds"):
        assign(photos_of({"a": 5}, {"x": 5, "y": 5}), 2, seed=0)
