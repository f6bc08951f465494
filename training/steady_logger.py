"""Lightning's MLflow logger, which a failing server does not let stop a training."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from mlflow import MlflowClient
from pytorch_lightning.loggers import MLFlowLogger


class SteadyLogger(MLFlowLogger):
    """Logs a Trainer's figures to the stage's run; that run is the stage's to end."""

    def __init__(
        self, run_id: str, attempt: Callable[[Callable[[MlflowClient], object]], None], client: MlflowClient
    ) -> None:
        super().__init__(tracking_uri=client.tracking_uri, run_id=run_id)
        self.attempt = attempt

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures, unless logging has failed before."""
        self.attempt(lambda _: super(SteadyLogger, self).log_metrics(metrics, step))

    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Leave the parameters as they are: the stage has logged all of them."""

    def finalize(self, status: str = "success") -> None:
        """Leave the run open: the stage has more to log."""
