"""Which MLflow run a stage logs to, and what every run carries."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final

from training.atomic import write_bytes
from training.params import Params
from training.paths import Paths
from training.tracking import provenance

if TYPE_CHECKING:  # takes seconds to import, and `--help` does not need it
    from mlflow import MlflowClient
    from mlflow.entities import Run

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
    values = provenance.flat(params)
    if earlier is not None and earlier.data.params == values:
        return _join(client, earlier, stage)
    tags = provenance.tags(params) | {"stage": stage}
    if earlier is not None:
        tags[_PARENT] = earlier.data.tags.get(_PARENT, earlier.info.run_id)
    return _start(client, experiment, f"{params.model.version} {stage}", values, tags)


def log_metrics(client: MlflowClient, run_id: str, values: Mapping[str, float]) -> None:
    """Log figures in one call."""
    from mlflow.entities import Metric  # noqa: PLC0415 - slow

    now = int(1000 * time())
    client.log_batch(run_id, metrics=[Metric(name, float(value), now, 0) for name, value in values.items()])


def end(client: MlflowClient, run_id: str, status: str, params: Params) -> None:
    """End a run; record the data again, because the stage may have created them."""
    for name, value in provenance.data_tag(params).items():
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
