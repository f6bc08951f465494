from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file

from handler.transforms import to_views
from tests.training.conftest import FROZEN, Pipeline, Tiny
from tests.training.marks import NOISE
from training import features
from training.data.manifest import read_photo
from training.files import Paths, StageError
from training.model.module import read_features, starting_network

pytestmark = [pytest.mark.slow, *NOISE]


def test_each_training_photo_has_a_clean_and_a_degraded_copy_and_dev_photos_are_clean(
    frozen_pipeline: Pipeline,
) -> None:
    stored = load_file(frozen_pipeline.paths.features)
    assert {name: tuple(tensor.shape) for name, tensor in stored.items()} == {
        "train": (24, 2, 1, 3, 192),
        "dev": (12, 1, 1, 3, 192),
    }
    assert not torch.equal(stored["train"][:, 0], stored["train"][:, 1])


def test_features_are_what_the_eager_network_makes_of_servings_views(frozen_pipeline: Pipeline) -> None:
    params = frozen_pipeline.params
    pl.seed_everything(params.train.seed, verbose=False)
    network: Any = starting_network(params.model.spec(), params.model.weights).eval()
    _, dev = read_features(params, frozen_pipeline.paths)
    views = [to_views(read_photo(params.data.root, photo), params.model.spec())[0] for photo in dev.photos]
    with torch.no_grad():
        expected = torch.stack([network.class_tokens(view)[:, [1, 2]] for view in views])
    assert torch.allclose(dev.tokens[:, 0].float(), expected, atol=0.05)  # bfloat16, where the CPU has it


def test_what_is_there_is_not_computed_again(
    frozen_pipeline: Pipeline, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped run goes on, and a new copy costs only itself."""
    paths = Paths(tmp_path / "run", tmp_path / "store", tmp_path / "reports")
    monkeypatch.setattr(features, "CACHE", frozen_pipeline.paths.run.parent / "cache")
    kept = {file: file.stat().st_mtime_ns for file in features.CACHE.rglob("*.npy")}
    assert len(kept) == 24 * 2 + 12
    features.run(tiny(*FROZEN, "augment.degraded_copies=2"), paths)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    first, second = (load_file(where.features)["train"] for where in (frozen_pipeline.paths, paths))
    assert torch.equal(second[:, :2], first)
    assert second.shape[1] == 3


def test_an_architecture_that_trains_whole_has_none(tiny: Tiny, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "run", tmp_path / "store", tmp_path / "reports")
    assert features.run(tiny(), paths) == 0
    assert load_file(paths.features) == {}


def test_features_of_other_photos_are_refused(frozen_pipeline: Pipeline, tiny: Tiny, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "run", tmp_path / "store", tmp_path / "reports")
    features.run(tiny(), paths)
    with pytest.raises(StageError, match=r"other images or blocks: run `python -m training\.features`$"):
        read_features(frozen_pipeline.params, paths)


def test_a_tower_that_cannot_be_had_is_named_with_what_to_do(tiny: Tiny, tmp_path: Path) -> None:
    nowhere = tmp_path / "tower.safetensors"
    with pytest.raises(StageError, match=r"tower\.safetensors of .*: model\.weights takes .* or hub$"):
        features.run(tiny(*FROZEN, f"model.weights={nowhere}"), Paths(tmp_path))
