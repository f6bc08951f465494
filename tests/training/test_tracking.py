import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import pytest
import pytorch_lightning as pl
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from pytorch_lightning.loggers.logger import DummyLogger
from torch.utils.data import DataLoader, TensorDataset

from tests.training.marks import NOISE
from training import params
from training.files import Paths
from training.params import Params
from training.tracking import EXPERIMENT, RunLog, git_tags, tracked
from training.train import stage_logger

pytestmark = [pytest.mark.slow, *NOISE]
Stored = Callable[[str], Run]


class Line(pl.LightningModule):
    """The smallest module that trains and logs."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Linear(1, 1)

    def training_step(self, batch: list[torch.Tensor], batch_index: int) -> torch.Tensor:
        loss: torch.Tensor = self.slope(batch[0]).square().mean()
        self.log("train/loss", loss + 0 * batch_index, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take seconds to make."""
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{database}").search_experiments()
    return database


@pytest.fixture(autouse=True)
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database that this test's stages log to."""
    database = Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    return database


@pytest.fixture
def stored(store: Path) -> Stored:
    return MlflowClient(f"sqlite:///{store}").get_run


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "run", tmp_path / "store", tmp_path / "reports")


def load(*overrides: str) -> Params:
    return params.load(Path("params.yaml"), list(overrides))


def stage(name: str, paths: Paths, *overrides: str) -> str:
    with tracked(load(*overrides), paths, name) as log:
        return log.run_id


def break_the_metrics(store: Path) -> None:
    with sqlite3.connect(store) as connection:
        connection.execute("DROP TABLE metrics")
    connection.close()


def fit(log: RunLog, tmp_path: Path) -> None:
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        max_epochs=2,
        accelerator="cpu",
        logger=stage_logger(log),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(Line(), DataLoader(TensorDataset(torch.ones(2, 1))))


def test_a_run_carries_every_parameter_by_section_and_key(paths: Paths, stored: Stored) -> None:
    logged = stored(stage("train", paths, "train.lr=0.25", "evaluate.product_domains=[a, b]")).data.params
    file = Path("params.yaml").read_text(encoding="utf-8")
    assert len(logged) == sum(line.startswith("  ") for line in file.splitlines())
    assert (logged["train.lr"], logged["model.architecture"]) == ("0.25", "efficientnet_b0")
    assert (logged["train.compile"], logged["evaluate.product_domains"]) == ("false", '["a", "b"]')


def test_a_run_names_its_code_data_and_libraries_and_no_machine(paths: Paths, stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,label\n", encoding="utf-8")
    run = stored(stage("train", paths, f"data.root={tmp_path}", "model.version=3.0.0"))
    tags = dict(run.data.tags)
    assert tags.pop("data_hash") == hashlib.sha256(b"path,label\n").hexdigest()
    assert tags.pop("python") == ".".join(map(str, sys.version_info[:3]))
    assert (tags.pop("torch"), tags.pop("pytorch-lightning")) == (version("torch"), version("pytorch-lightning"))
    assert tags == git_tags() | {"stage": "train", "mlflow.runName": "3.0.0 train"}
    assert run.info.user_id == "unknown"


def test_the_revision_is_the_commit_and_whether_tracked_files_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_tags() == {}
    with monkeypatch.context() as without_git:
        without_git.setenv("PATH", str(tmp_path))
        assert git_tags() == {}

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "file").touch()
    git("add", "file")
    git("commit", "-qm", "first")
    git("tag", "v1")
    assert git_tags() == {"mlflow.source.git.commit": git("rev-parse", "HEAD"), "git_dirty": "false"}
    (tmp_path / "file").write_text("changed", encoding="utf-8")
    assert git_tags() == {"mlflow.source.git.commit": git("rev-parse", "HEAD"), "git_dirty": "true"}


def test_later_stages_join_the_training_run(paths: Paths, stored: Stored) -> None:
    trained = stage("train", paths)
    assert (paths.run / "mlflow_run_id").read_text(encoding="utf-8") == f"{trained}\n"
    with tracked(load(), paths, "evaluate") as log:
        log.metrics({"test/auroc": 0.9, "robustness/JPEG 70": 1})
        assert stored(log.run_id).info.status == "RUNNING"
    assert log.run_id == trained
    assert stage("calibrate", paths) == stage("evaluate", paths) == trained
    run = stored(trained)
    assert run.data.metrics == {"test/auroc": 0.9, "robustness/JPEG 70": 1.0}
    assert (run.data.tags["stage"], run.info.status) == ("train, evaluate, calibrate", "FINISHED")


@pytest.mark.parametrize("name", ["download", "validate"])
def test_what_comes_before_training_neither_joins_nor_is_joined(name: str, paths: Paths) -> None:
    stage(name, paths)
    assert not paths.run.exists()
    trained = stage("train", paths)
    assert stage(name, paths) != trained
    assert stage("evaluate", paths) == trained


def test_a_download_names_the_data_that_it_made(paths: Paths, stored: Stored, tmp_path: Path) -> None:
    with tracked(load(f"data.root={tmp_path}"), paths, "download") as log:
        assert "data_hash" not in stored(log.run_id).data.tags
        (tmp_path / "manifest.csv").write_text("path\n", encoding="utf-8")
    assert stored(log.run_id).data.tags["data_hash"] == hashlib.sha256(b"path\n").hexdigest()


def test_other_parameters_go_into_a_child_which_later_stages_join(paths: Paths, stored: Stored) -> None:
    trained = stage("train", paths)
    first = stage("evaluate", paths, "evaluate.bootstrap_samples=7")
    assert first != trained
    assert stage("package", paths, "evaluate.bootstrap_samples=7") == first
    second = stage("evaluate", paths, "evaluate.bootstrap_samples=8")
    for run_id, samples in ((first, "7"), (second, "8")):
        assert stored(run_id).data.params["evaluate.bootstrap_samples"] == samples
        assert stored(run_id).data.tags["mlflow.parentRunId"] == trained


@pytest.mark.parametrize("left", ["no run", "another store's", "a deleted run"])
def test_without_a_training_run_the_first_later_stage_starts_one(
    left: str, paths: Paths, store: Path, stored: Stored
) -> None:
    if left == "another store's":
        paths.run.mkdir()
        (paths.run / "mlflow_run_id").write_text("0123456789abcdef0123456789abcdef\n", encoding="utf-8")
    if left == "a deleted run":
        MlflowClient(f"sqlite:///{store}").delete_run(stage("train", paths))
    started = stage("calibrate", paths)
    assert stage("evaluate", paths) == started
    assert stored(started).data.tags["stage"] == "calibrate, evaluate"
    assert "mlflow.parentRunId" not in stored(started).data.tags


def end_as_lightning_does() -> NoReturn:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        sys.exit(1)
    raise AssertionError("not interrupted")


def stop_by(error: type[BaseException]) -> NoReturn:
    raise error


@pytest.mark.parametrize(
    ("stop", "status"),
    [
        (lambda: stop_by(ValueError), "FAILED"),
        (lambda: stop_by(SystemExit), "FAILED"),
        (lambda: stop_by(KeyboardInterrupt), "KILLED"),
        (end_as_lightning_does, "KILLED"),
    ],
)
def test_a_stage_that_stops_ends_its_run_and_leaves_the_id_of_the_weights_that_are_there(
    stop: Callable[[], NoReturn], status: str, paths: Paths, stored: Stored
) -> None:
    before = stage("train", paths)
    with pytest.raises((ValueError, SystemExit, KeyboardInterrupt)), tracked(load(), paths, "train") as log:
        stop()
    assert stored(log.run_id).info.status == status
    assert stage("evaluate", paths) == before


def test_files_and_folders_are_kept_beside_the_database(paths: Paths, store: Path, tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("metrics.json", "figures/roc.png"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    with tracked(load(), paths, "evaluate") as log:
        log.artifact(tmp_path / "metrics.json")
        log.artifact(tmp_path / "figures")
    kept = tmp_path / "mlruns" / log.run_id / "artifacts"
    assert [file.read_text(encoding="utf-8") for file in (kept / "metrics.json", kept / "figures" / "roc.png")] == [
        "metrics.json",
        "figures/roc.png",
    ]
    experiment = MlflowClient(f"sqlite:///{store}").get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert experiment.artifact_location == (tmp_path / "mlruns").as_uri()


def test_lightning_logs_to_the_stages_run_and_leaves_it_open(paths: Paths, store: Path, tmp_path: Path) -> None:
    with tracked(load(), paths, "train") as log:
        fit(log, tmp_path)
        client = MlflowClient(f"sqlite:///{store}")
        assert client.get_run(log.run_id).info.status == "RUNNING"
    assert [point.step for point in client.get_metric_history(log.run_id, "train/loss")] == [1, 3]
    assert client.get_run(log.run_id).info.status == "FINISHED"
    assert len(client.get_run(log.run_id).data.params) == len(client.get_run(stage("train", paths)).data.params)


def test_a_store_that_cannot_be_reached_stops_the_stage_before_its_work(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:1")
    with pytest.raises(SystemExit) as stopped, tracked(load(), paths, "train"):
        raise AssertionError("never reached")
    message = str(stopped.value)
    assert message.startswith("train: MLflow at http://127.0.0.1:1 cannot be used: ")
    assert message.endswith("; start it, or unset MLFLOW_TRACKING_URI to log into sqlite:///mlflow.db")
    assert "secret" not in message
    assert "\n" not in message
    assert not paths.run.exists()


def test_a_store_that_fails_later_costs_one_warning_and_no_work(
    paths: Paths, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tracked(load(), paths, "train") as log:
        break_the_metrics(store)
        fit(log, tmp_path)
        log.metrics({"test/auroc": 0.9})
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert printed.startswith("warning: MLflow logging disabled for the rest of this stage (")
    assert (paths.run / "mlflow_run_id").read_text(encoding="utf-8") == f"{log.run_id}\n"


@pytest.mark.parametrize("name", ["LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID"])
def test_of_several_processes_the_first_alone_logs(
    name: str, paths: Paths, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.read_bytes()
    monkeypatch.setenv(name, "1")
    with tracked(load(), paths, "train") as log:
        log.metrics({"test/auroc": 0.9})
        assert isinstance(stage_logger(log), DummyLogger)
    assert store.read_bytes() == before
    assert not paths.run.exists()


def test_without_a_setting_all_is_kept_in_the_working_directory_and_nothing_is_said(tmp_path: Path) -> None:
    """Also: nothing is sent to MLflow's makers, and no name is looked up."""
    code = (
        "import socket, sys; from pathlib import Path; from training import params\n"
        "def refuse(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo'): sys.exit(f'reached out: {arguments}')\n"
        "sys.addaudithook(refuse)\n"
        "from training.files import Paths; from training.tracking import tracked\n"
        "assert 'mlflow' not in sys.modules and 'torch' not in sys.modules\n"
        "with tracked(params.load(Path(sys.argv[1])), Paths(), 'evaluate') as log:\n"
        "    log.artifact(Path(sys.argv[1]))\n"
        "print(log.run_id)"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", code, str(Path("params.yaml").resolve())]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    made = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    run_id = done.stdout.strip()
    kept = {"mlflow.db", f"mlruns/{run_id}/artifacts/params.yaml", "runs/default/mlflow_run_id"}
    assert made - kept == set()
    assert kept <= made
