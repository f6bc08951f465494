import contextlib
import csv
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import pytorch_lightning as pl
import torch
import yaml
from safetensors.torch import load_file

from tests.training.conftest import Pipeline, Tiny
from tests.training.marks import NOISE
from training import params, train
from training.data.manifest import of_split, read_manifest
from training.files import Paths, StageError
from training.model.predict import predict
from training.params import Params
from training.train import resumable, was_interrupted

pytestmark = [pytest.mark.slow, *NOISE]


def checkpoint(paths: Paths, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(paths.checkpoints / name, weights_only=False)
    return loaded


def unreachable(*_: object, **__: object) -> NoReturn:
    raise OSError("We couldn't connect to 'https://huggingface.co' to load the files")


def test_a_run_leaves_its_weights_parameters_checkpoints_and_log(pipeline: Pipeline) -> None:
    paths = pipeline.paths
    assert sorted(file.name for file in paths.checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert params.load(paths.used_params) == pipeline.params
    with (paths.run / "logs" / "metrics.csv").open(encoding="utf-8") as file:
        columns = set(csv.DictReader(file).fieldnames or ())
    assert {"epoch", "step", "train/loss", "val/loss", "val/auroc", "val/accuracy"} <= columns


def test_the_weights_are_the_averaged_ones_that_were_validated(pipeline: Pipeline) -> None:
    best = checkpoint(pipeline.paths, "best.ckpt")
    weights = load_file(pipeline.paths.weights)
    assert all(torch.equal(weights[name], best["state_dict"][f"model.{name}"]) for name in weights)
    current = best["current_model_state"]
    assert not torch.equal(weights["classifier.weight"], current["model.classifier.weight"])


def test_the_score_is_the_dev_auroc_of_the_weights_that_ship(pipeline: Pipeline) -> None:
    evaluated = pipeline.report["splits"]["dev"]["all_sources"]["auroc"]
    assert pipeline.auroc == pytest.approx(evaluated, abs=1e-6)


def test_predictions_follow_the_manifests_order(pipeline: Pipeline) -> None:
    photos = of_split(read_manifest(pipeline.params.data.root, pipeline.params.data.manifest), "test")
    logits = predict(pipeline.params, pipeline.paths, photos)
    backwards = predict(pipeline.params, pipeline.paths, photos[::-1])
    torch.testing.assert_close(logits, backwards.flip(0), rtol=0, atol=1e-5)
    assert (logits.shape, logits.dtype) == ((12,), torch.float32)


def test_the_same_seed_gives_the_same_weights(pipeline: Pipeline, tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert train.run(pipeline.params, paths) == pipeline.auroc
    assert paths.weights.read_bytes() == pipeline.paths.weights.read_bytes()


def test_a_resumed_run_goes_on_where_it_stopped_and_a_new_one_takes_its_place(tiny: Tiny, tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    train.run(tiny(), paths)
    first = checkpoint(paths, "last.ckpt")
    train.run(tiny("train.epochs=3"), paths, resume=True)
    second = checkpoint(paths, "last.ckpt")
    assert [c["global_step"] for c in (first, second)] == [3, 9]
    assert [int(c["optimizer_states"][0]["state"][0]["step"]) for c in (first, second)] == [3, 9]
    assert second["lr_schedulers"][0]["total_steps"] == 9
    train.run(tiny(), paths)
    assert sorted(file.name for file in paths.checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert checkpoint(paths, "last.ckpt")["global_step"] == 3


def test_an_epoch_that_is_no_better_is_what_a_resumed_run_goes_on_from(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchmetrics.classification.BinaryAUROC.compute", lambda _: torch.tensor(0.5))
    paths = Paths(tmp_path)
    train.run(tiny("train.epochs=2"), paths)
    best, last = (checkpoint(paths, name) for name in ("best.ckpt", "last.ckpt"))
    assert [c["global_step"] for c in (best, last)] == [3, 6]
    [kept] = [
        state for state in last["callbacks"].values() if state.get("monitor") == "val/auroc" and "kth_value" in state
    ]
    assert kept["best_model_path"] == str(paths.checkpoints / "best.ckpt")


def test_resuming_without_a_checkpoint_starts_anew(pipeline: Pipeline, tmp_path: Path) -> None:
    train.run(pipeline.params, Paths(tmp_path), resume=True)
    assert Paths(tmp_path).weights.read_bytes() == pipeline.paths.weights.read_bytes()


def test_unreachable_pretrained_weights_name_the_setting(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timm.create_model", unreachable)
    with pytest.raises(StageError, match=r"test_efficientnet: set model\.weights: package"):
        train.run(tiny("model.weights=hub"), Paths(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_other_failures_are_not_put_down_to_the_hub(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timm.create_model", unreachable)
    with pytest.raises(OSError, match="couldn't connect"):
        train.run(tiny(), Paths(tmp_path))


def test_the_command_says_in_one_line_that_the_data_folder_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "--set", f"data.root={tmp_path}", "model.weights=random", "--run", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stopped:
        train.main()
    assert str(stopped.value.code).startswith(
        f"train: no manifest at {tmp_path}/manifest.csv: run the stage download, or"
    )
    assert "\n" not in str(stopped.value.code)


def test_the_command_names_the_score_and_the_weights(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params.dump(tiny(), tmp_path / "params.yaml")
    run = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["train", "--params", str(tmp_path / "params.yaml"), "--run", str(run)])
    train.main()
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"; weights in {run}/model.safetensors")
    assert yaml.safe_load((run / "params.yaml").read_text(encoding="utf-8"))["train"]["epochs"] == 1


def test_of_several_processes_the_first_alone_writes_weights_and_parameters(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pl.Trainer, "is_global_zero", False)
    paths = Paths(tmp_path)
    train.run(tiny(), paths)
    assert [file for file in (paths.weights, paths.used_params) if file.exists()] == []


def test_of_several_processes_the_first_alone_says_how_it_went(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = Paths(tmp_path / "run")
    params.dump(tiny(), paths.used_params)
    paths.weights.touch()
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(train, "run", lambda *_, **__: 0.5)
    monkeypatch.setattr(sys, "argv", ["train", "--params", str(paths.used_params), "--run", str(paths.run)])
    train.main()
    assert capsys.readouterr().out == ""


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
