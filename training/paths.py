"""Where the stages leave and find their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """One run's folder, and the store that TorchServe serves from."""

    run: Path = Path("runs/default")
    store: Path = Path("model_store")

    @property
    def checkpoints(self) -> Path:
        """Folder of Lightning checkpoints: `best.ckpt` and `last.ckpt`."""
        return self.run / "checkpoints"

    @property
    def weights(self) -> Path:
        """Weights of the best epoch, safetensors."""
        return self.run / "model.safetensors"

    @property
    def spec(self) -> Path:
        """The calibrated ModelSpec, YAML."""
        return self.run / "spec.yaml"

    @property
    def metrics(self) -> Path:
        """Figures of the evaluation, JSON."""
        return self.run / "metrics.json"

    @property
    def used_params(self) -> Path:
        """The parameters of the training run, YAML."""
        return self.run / "params.yaml"
