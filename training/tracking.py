"""MLflow: one run for one way through the pipeline, which training starts and the later stages join."""

from __future__ import annotations

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

from training.files import Paths, refusals, write_bytes
from training.params import Params, parse_command_line

if TYPE_CHECKING:
    from mlflow import MlflowClient, entities

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


def git_tags() -> dict[str, str]:
    """Return the working directory's commit, and whether tracked files differ from it; nothing outside of Git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    except (FileNotFoundError, subprocess.CalledProcessError):
        return {}
    commit, dash, _ = done.stdout.strip().partition("-")
    return {"mlflow.source.git.commit": commit, "git_dirty": "true" if dash else "false"}


def data_hash(params: Params) -> str | None:
    """Return the SHA-256 of the manifest, which names every image; None without a manifest."""
    manifest = params.data.root / params.data.manifest
    return hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else None


def follows_another_process() -> bool:
    """Return whether this is a training process other than the first, by what Lightning's launchers set."""
    return any(int(os.environ.get(name, "0")) > 0 for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK"))


class RunLog:
    """A stage's logging to its MLflow run; the first failure is reported in one line and ends it."""

    def __init__(self, client: MlflowClient | None, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log figures by name; a name may hold letters, digits, spaces and any of `_ - . : /`."""
        from mlflow.entities import Metric  # noqa: PLC0415 - slow

        now = int(1000 * time())
        metrics = [Metric(name, float(value), now, 0) for name, value in values.items()]
        self.attempt(lambda client: client.log_batch(self.run_id, metrics=metrics))

    def artifact(self, path: Path) -> None:
        """Log a file, or a folder under its own name."""
        self.attempt(lambda client: client.log_artifact(self.run_id, str(path)))

    def attempt(self, call: Callable[[MlflowClient], object]) -> None:
        """Make a call that may fail without harm to the stage."""
        if self.client is None:
            return
        try:
            call(self.client)
        except Exception as error:  # noqa: BLE001 - servers, databases and networks raise nearly anything
            self.client = None
            problem = _brief(str(error))
            print(f"warning: MLflow logging disabled for the rest of this stage ({problem})", file=sys.stderr)


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
        if manifest := data_hash(params):  # now, because the stage may have created the data
            log.attempt(lambda client: client.set_tag(log.run_id, "data_hash", manifest))
        log.attempt(lambda client: client.set_terminated(log.run_id, status))
    if stage not in APART:
        write_bytes(paths.run_id, f"{log.run_id}\n".encode())


@contextmanager
def stage(name: str, *also: type[Exception]) -> Iterator[tuple[Params, Paths, RunLog]]:
    """Give a stage its command line and its log; end the process in one line where it refuses, or fails as named."""
    params, paths, _ = parse_command_line(name)
    with refusals(name, *also), tracked(params, paths, name) as log:
        yield params, paths, log


def _open(params: Params, paths: Paths, stage: str) -> RunLog:
    uri = os.environ.get("MLFLOW_TRACKING_URI") or LOCAL_STORE
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - slow

        logging.getLogger("mlflow").setLevel(os.environ.get("MLFLOW_LOGGING_LEVEL", "CRITICAL"))  # it raises, too
        client = MlflowClient(uri)
        return RunLog(client, _begin(client, params, paths, stage))
    except Exception as error:
        problem = _brief(f"MLflow at {uri} cannot be used: {error}")
        remedy = f"start it, or unset MLFLOW_TRACKING_URI to log into {LOCAL_STORE}"
        raise SystemExit(f"{stage}: {problem}; {remedy}") from error


def _begin(client: MlflowClient, params: Params, paths: Paths, stage: str) -> str:
    """Start or join the stage's run and return its id."""
    from mlflow.entities import Param  # noqa: PLC0415 - slow

    experiment, values = _experiment(client), flat(params)
    earlier = None if stage in ("train", *APART) else _earlier(client, paths, experiment)
    if earlier is not None and earlier.data.params == values:
        stages = [*earlier.data.tags.get("stage", "train").split(", "), stage]
        client.set_tag(earlier.info.run_id, "stage", ", ".join(dict.fromkeys(stages)))
        client.update_run(earlier.info.run_id, status="RUNNING")
        return str(earlier.info.run_id)
    tags = {"stage": stage, "python": platform.python_version()} | git_tags()
    tags |= {name: version(name) for name in ("torch", "pytorch-lightning")}
    if earlier is not None:
        tags[_PARENT] = earlier.data.tags.get(_PARENT, earlier.info.run_id)
    run = client.create_run(experiment, run_name=f"{params.model.version} {stage}", tags=tags)
    client.log_batch(run.info.run_id, params=[Param(key, value) for key, value in values.items()])
    return str(run.info.run_id)


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    scheme, _, database = client.tracking_uri.partition(":///")
    beside = (Path(database).resolve().parent / "mlruns").as_uri() if scheme == "sqlite" else None
    return client.create_experiment(EXPERIMENT, artifact_location=beside)


def _earlier(client: MlflowClient, paths: Paths, experiment: str) -> entities.Run | None:
    """Return the training's run, unless it was deleted or is another store's."""
    if not paths.run_id.is_file():
        return None
    run_id = paths.run_id.read_text(encoding="utf-8").strip()
    return next(iter(client.search_runs([experiment], f"attributes.run_id = '{run_id}'")), None)


def _brief(text: str) -> str:
    """Return the first line, of at most 300 characters and without passwords of addresses."""
    line = next(iter(text.strip().splitlines()), "")
    return textwrap.shorten(re.sub(r"//[^/@\s]+@", "//", line), 300)
