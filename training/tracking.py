"""MLflow: one run for one way through the pipeline, which training starts and the later stages join."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import platform
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter

from training.files import Paths, write_bytes
from training.params import Params

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from pytorch_lightning.loggers import Logger

EXPERIMENT: Final = "product-photo-detector"
LOCAL_STORE: Final = "sqlite:///mlflow.db"
APART: Final = ("download", "validate")
"""Stages before training, whose runs nobody joins."""
_PARENT: Final = "mlflow.parentRunId"
_SETTINGS: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # with MLflow's 7 a stage would hang for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
}
"""MLflow's own settings where the environment has none."""


def flat(params: Params) -> dict[str, str]:
    """Return every parameter as `section.key` with its value in JSON; strings stay as they are."""
    sections = TypeAdapter(Params).dump_python(params, mode="json")
    return {
        f"{section}.{key}": value if isinstance(value, str) else json.dumps(value)
        for section, values in sections.items()
        for key, value in values.items()
    }


def tags(params: Params) -> dict[str, str]:
    """Return the revision of the code, the hash of the data, and the versions of Python, torch and Lightning."""
    versions = {name: version(name) for name in ("torch", "pytorch-lightning")}
    return git_tags() | data_tag(params) | versions | {"python": platform.python_version()}


def git_tags() -> dict[str, str]:
    """Return the working directory's commit, and whether tracked files differ from it; nothing outside of Git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    except (FileNotFoundError, subprocess.CalledProcessError):
        return {}
    commit, dash, _ = done.stdout.strip().partition("-")
    return {"mlflow.source.git.commit": commit, "git_dirty": "true" if dash else "false"}


def data_tag(params: Params) -> dict[str, str]:
    """Return the hash of the data as a tag; nothing where there are none yet."""
    manifest = data_hash(params)
    return {} if manifest is None else {"data_hash": manifest}


def data_hash(params: Params) -> str | None:
    """Return the SHA-256 of the manifest, which names every image; None without a manifest."""
    manifest = params.data.root / params.data.manifest
    return hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else None


def follows_another_process() -> bool:
    """Return whether this is a training process other than the first, by what Lightning's launchers set."""
    return any(int(os.environ.get(name, "0")) > 0 for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK"))


def tracking_uri() -> str:
    """Return where runs are logged to: the environment's choice, else a file in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or LOCAL_STORE


def connect(uri: str) -> MlflowClient:
    """Return a client; nothing is sent yet."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient  # noqa: PLC0415 - slow

    logging.getLogger("mlflow").setLevel(os.environ.get("MLFLOW_LOGGING_LEVEL", "CRITICAL"))  # it raises what it logs
    return MlflowClient(uri)


def begin(client: MlflowClient, params: Params, paths: Paths, stage: str) -> str:
    """Start or join the stage's run and return its id."""
    experiment = _experiment(client)
    earlier = None if stage in ("train", *APART) else _earlier(client, paths)
    values = flat(params)
    if earlier is not None and earlier.data.params == values:
        return _join(client, earlier, stage)
    tags_ = tags(params) | {"stage": stage}
    if earlier is not None:
        tags_[_PARENT] = earlier.data.tags.get(_PARENT, earlier.info.run_id)
    return _start(client, experiment, f"{params.model.version} {stage}", values, tags_)


def log_metrics(client: MlflowClient, run_id: str, values: Mapping[str, float]) -> None:
    """Log figures in one call."""
    from mlflow.entities import Metric  # noqa: PLC0415 - slow

    now = int(1000 * time())
    client.log_batch(run_id, metrics=[Metric(name, float(value), now, 0) for name, value in values.items()])


def end(client: MlflowClient, run_id: str, status: str, params: Params) -> None:
    """End a run; record the data again, because the stage may have created them."""
    for name, value in data_tag(params).items():
        client.set_tag(run_id, name, value)
    client.set_terminated(run_id, status)


def remember(paths: Paths, stage: str, run_id: str) -> None:
    """Leave a run's id beside the weights that it is about, for the next stage."""
    if stage not in APART:
        write_bytes(_id_file(paths), f"{run_id}\n".encode())


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    scheme, _, database = client.tracking_uri.partition(":///")
    beside = (Path(database).resolve().parent / "mlruns").as_uri() if scheme == "sqlite" else None
    return client.create_experiment(EXPERIMENT, artifact_location=beside)


def _earlier(client: MlflowClient, paths: Paths) -> Run | None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - slow

    if not _id_file(paths).is_file():
        return None
    try:
        run = client.get_run(_id_file(paths).read_text(encoding="utf-8").strip())
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # another store than training's
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def _join(client: MlflowClient, run: Run, stage: str) -> str:
    stages = [*run.data.tags.get("stage", "train").split(", "), stage]
    client.set_tag(run.info.run_id, "stage", ", ".join(dict.fromkeys(stages)))
    client.update_run(run.info.run_id, status="RUNNING")
    return str(run.info.run_id)


def _start(client: MlflowClient, experiment: str, name: str, values: Mapping[str, str], tags: dict[str, str]) -> str:
    from mlflow.entities import Param  # noqa: PLC0415 - slow

    run = client.create_run(experiment, run_name=name, tags=tags)
    client.log_batch(run.info.run_id, params=[Param(key, value) for key, value in values.items()])
    return str(run.info.run_id)


def _id_file(paths: Paths) -> Path:
    return paths.run / "mlflow_run_id"


class RunLog:
    """A stage's logging to its MLflow run; the first failure is reported in one line and ends it."""

    def __init__(self, client: MlflowClient | None, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log figures by name; a name may hold letters, digits, spaces and any of `_ - . : /`."""
        self.attempt(lambda client: log_metrics(client, self.run_id, values))

    def artifact(self, path: Path) -> None:
        """Log a file, or a folder under its own name.

        Raises:
            FileNotFoundError: The stage did not write it.
        """
        if not path.exists():
            raise FileNotFoundError(f"{path} cannot be logged to MLflow: the stage has not written it")
        if path.is_dir():
            self.attempt(lambda client: client.log_artifacts(self.run_id, str(path), path.name))
        else:
            self.attempt(lambda client: client.log_artifact(self.run_id, str(path)))

    @functools.cached_property
    def logger(self) -> Logger:
        """The run as a logger for Lightning's Trainer; of several processes, the first alone logs."""
        from pytorch_lightning.loggers.logger import DummyLogger  # noqa: PLC0415 - slow, and of use to training alone

        from training.steady_logger import SteadyLogger  # noqa: PLC0415 - the same

        return DummyLogger() if self.client is None else SteadyLogger(self.run_id, self.attempt, self.client)

    def attempt(self, call: Callable[[MlflowClient], object]) -> None:
        """Make a call that may fail without harm to the stage."""
        if self.client is None:
            return
        try:
            call(self.client)
        except Exception as error:  # noqa: BLE001 - servers, databases and networks raise nearly anything
            self.client = None
            print(
                f"warning: MLflow logging disabled for the rest of this stage ({_brief(str(error))})", file=sys.stderr
            )


@contextmanager
def tracked(params: Params, paths: Paths, stage: str) -> Iterator[RunLog]:
    """Log a stage to MLflow: at `MLFLOW_TRACKING_URI`, else into `mlflow.db` of the working directory.

    `train` starts a run and, when it has finished, leaves the run's id beside the weights. Later stages join that run;
    if their parameters differ, they start a child of it, for the parameters of a run cannot change. `download` and
    `validate` have runs of their own. A run ends as FINISHED, FAILED or KILLED, as the stage does.

    Raises:
        SystemExit: MLflow cannot be used; nothing was done yet.
    """
    if follows_another_process():
        yield RunLog(None, "")
        return
    log = _open(params, paths, stage)
    status = "FAILED"
    try:
        yield log
        status = "FINISHED"
    except BaseException as error:
        if KeyboardInterrupt in (type(error), type(error.__context__)):  # Lightning turns the one into SystemExit
            status = "KILLED"
        raise
    finally:
        log.attempt(lambda client: end(client, log.run_id, status, params))
    remember(paths, stage, log.run_id)


def _open(params: Params, paths: Paths, stage: str) -> RunLog:
    uri = tracking_uri()
    try:
        client = connect(uri)
        return RunLog(client, begin(client, params, paths, stage))
    except Exception as error:
        problem = _brief(f"MLflow at {uri} cannot be used: {error}")
        remedy = f"start it, or unset MLFLOW_TRACKING_URI to log into {LOCAL_STORE}"
        raise SystemExit(f"{stage}: {problem}; {remedy}") from error


def _brief(text: str) -> str:
    """Return the first line, of at most 300 characters and without passwords of addresses."""
    line = next(iter(text.strip().splitlines()), "")
    return textwrap.shorten(re.sub(r"//[^/@\s]+@", "//", line), 300)
