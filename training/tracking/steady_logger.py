"""Lightning's MLflow logger, which a failing server does not let stop a training."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from pytorch_lightning.loggers import MLFlowLogger

if TYPE_CHECKING:  # it imports this module in turn, when asked for a logger
    from training.tracking.stage import RunLog


class SteadyLogger(MLFlowLogger):
    """Logs a Trainer's figures to the stage's run; that run is the stage's to end."""

    def __init__(self, log: RunLog, client: MlflowClient) -> None:
        super().__init__(tracking_uri=client.tracking_uri, run_id=log.run_id)
        self.log = log

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures, unless logging has failed before."""
        self.log.attempt(lambda _: super(SteadyLogger, self).log_metrics(metrics, step))

    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Leave the parameters as they are: the stage has logged all of them."""

    def finalize(self, status: str = "success") -> None:
        """Leave the run open: the stage has more to log."""
