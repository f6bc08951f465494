from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from training import params
from training.files import Paths
from training.params import Params
from training.train import resumable, was_interrupted

pytestmark = pytest.mark.slow

CHECKPOINT = "checkpoints/last.ckpt"


def load(*overrides: str) -> Params:
    return params.load(Path("params.yaml"), list(overrides))


def save_checkpoint(paths: Paths) -> None:
    paths.checkpoints.mkdir(exist_ok=True)
    (paths.run / CHECKPOINT).touch()


def interrupt(chosen: Params, paths: Paths) -> None:
    """A training that stops after its first checkpoint."""
    with contextlib.suppress(KeyboardInterrupt), resumable(chosen, paths, resume=False):
        save_checkpoint(paths)
        raise KeyboardInterrupt


def test_a_training_that_ended_leaves_its_checkpoint_and_no_mark(tmp_path: Path) -> None:
    with resumable(load(), Paths(tmp_path), resume=False) as checkpoint:
        assert checkpoint is None
        save_checkpoint(Paths(tmp_path))
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / CHECKPOINT]
    assert not was_interrupted(load(), Paths(tmp_path))


def test_an_interrupted_training_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    interrupt(load(), Paths(tmp_path))
    assert was_interrupted(load(), Paths(tmp_path))
    with resumable(load(), Paths(tmp_path), resume=True) as checkpoint:
        assert checkpoint == tmp_path / CHECKPOINT
    assert not was_interrupted(load(), Paths(tmp_path))


@pytest.mark.parametrize("override", ["train.lr=0.5", "augment.quality_min=7", "model.input_size=96"])
def test_a_training_by_other_parameters_is_another(override: str, tmp_path: Path) -> None:
    interrupt(load(), Paths(tmp_path))
    assert not was_interrupted(load(override), Paths(tmp_path))


def test_parameters_of_later_stages_do_not_matter(tmp_path: Path) -> None:
    interrupt(load(), Paths(tmp_path))
    assert was_interrupted(load("evaluate.batch_size=3"), Paths(tmp_path))


def test_a_training_on_other_data_is_another(tmp_path: Path) -> None:
    chosen, paths = load(f"data.root={tmp_path}"), Paths(tmp_path / "run")
    (tmp_path / "manifest.csv").write_text("path\n", encoding="utf-8")
    interrupt(chosen, paths)
    assert was_interrupted(chosen, paths)
    (tmp_path / "manifest.csv").write_text("path\na.png\n", encoding="utf-8")
    assert not was_interrupted(chosen, paths)


def test_a_training_from_the_start_does_not_find_another_ones_checkpoint(tmp_path: Path) -> None:
    interrupt(load(), Paths(tmp_path))
    with resumable(load(), Paths(tmp_path), resume=False) as checkpoint:
        assert checkpoint is None
        assert not (tmp_path / CHECKPOINT).exists()


def test_of_several_processes_the_first_alone_keeps_the_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(load(), Paths(tmp_path))
    monkeypatch.setenv("LOCAL_RANK", "1")
    with resumable(load(), Paths(tmp_path), resume=False) as checkpoint:
        assert checkpoint == tmp_path / CHECKPOINT
    assert was_interrupted(load(), Paths(tmp_path))
