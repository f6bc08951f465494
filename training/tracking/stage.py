"""MLflow: one run for one way through the pipeline, which training starts and the later stages join."""

from __future__ import annotations

import functools
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from training.params import Params
from training.paths import Paths
from training.tracking import mlflow_runs, provenance

if TYPE_CHECKING:  # both take seconds to import, and `--help` needs neither
    from mlflow import MlflowClient
    from pytorch_lightning.loggers import Logger


class RunLog:
    """A stage's logging to its MLflow run; the first failure is reported in one line and ends it."""

    def __init__(self, client: MlflowClient | None, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log figures by name; a name may hold letters, digits, spaces and any of `_ - . : /`."""
        self.attempt(lambda client: mlflow_runs.log_metrics(client, self.run_id, values))

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

        from training.tracking.steady_logger import SteadyLogger  # noqa: PLC0415 - the same

        return DummyLogger() if self.client is None else SteadyLogger(self, self.client)

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
    if provenance.follows_another_process():
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
        log.attempt(lambda client: mlflow_runs.end(client, log.run_id, status, params))
    mlflow_runs.remember(paths, stage, log.run_id)


def _open(params: Params, paths: Paths, stage: str) -> RunLog:
    uri = mlflow_runs.tracking_uri()
    try:
        client = mlflow_runs.connect(uri)
        return RunLog(client, mlflow_runs.begin(client, params, paths, stage))
    except Exception as error:
        problem = _brief(f"MLflow at {uri} cannot be used: {error}")
        remedy = f"start it, or unset MLFLOW_TRACKING_URI to log into {mlflow_runs.LOCAL_STORE}"
        raise SystemExit(f"{stage}: {problem}; {remedy}") from error


def _brief(text: str) -> str:
    """Return the first line, of at most 300 characters and without passwords of addresses."""
    line = next(iter(text.strip().splitlines()), "")
    return textwrap.shorten(re.sub(r"//[^/@\s]+@", "//", line), 300)
