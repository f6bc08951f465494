"""Where the stages leave and find their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """One run's folder, the store that TorchServe serves from, and the folder of what people read."""

    run: Path = Path("runs/default")
    store: Path = Path("model_store")
    reports: Path = Path("reports")

    @property
    def checkpoints(self) -> Path:
        """Folder of Lightning checkpoints: `best.ckpt` and `last.ckpt`."""
        return self.run / "checkpoints"

    @property
    def weights(self) -> Path:
        """Weights of the best epoch, safetensors."""
        return self.run / "model.safetensors"

    @property
    def graph(self) -> Path:
        """The network as OpenVINO serves it, an .xml that reads its numbers from `weights`."""
        return self.run / "graphs" / "network.xml"

    @property
    def features(self) -> Path:
        """What a frozen network makes of the photos, safetensors."""
        return self.run / "features.safetensors"

    @property
    def used_params(self) -> Path:
        """The parameters of the training run, YAML."""
        return self.run / "params.yaml"

    @property
    def spec(self) -> Path:
        """The calibrated ModelSpec, YAML."""
        return self.run / "spec.yaml"

    @property
    def data_validation(self) -> Path:
        """What `validate` found, JSON; the page with images stands beside it."""
        return self.reports / "data_validation.json"

    @property
    def crossvalidation(self) -> Path:
        """Figures of leave-sources-out cross-validation, JSON."""
        return self.reports / "crossvalidation.json"

    @property
    def folds(self) -> Path:
        """Folder of the runs of cross-validation, one a fold."""
        return self.run / "folds"

    @property
    def out_of_fold(self) -> Path:
        """Logits of the photos whose source a fold left out, CSV."""
        return self.run / "out_of_fold.csv"

    @property
    def calibration(self) -> Path:
        """Temperature, operating points and calibration error before and after, JSON."""
        return self.reports / "calibration.json"

    @property
    def metrics(self) -> Path:
        """Headline figures of the evaluation, JSON of nested numbers: what `dvc metrics` and the gate compare."""
        return self.reports / "metrics.json"

    @property
    def tables(self) -> Path:
        """Figures of the evaluation by source, generator and domain, and the data's summary, JSON."""
        return self.reports / "tables.json"

    @property
    def curves(self) -> Path:
        """Folder of what `dvc plots` draws: a folder a split with roc.csv, pr.csv and confusion.csv."""
        return self.reports / "curves"

    @property
    def baseline(self) -> Path:
        """Figures that the gate compares with: those of the version before, JSON."""
        return self.reports / "baseline.json"

    @property
    def figures(self) -> Path:
        """Folder of plots, PNG, in a folder a stage."""
        return self.reports / "figures"

    @property
    def evaluation_page(self) -> Path:
        """Plots and the worst errors with their heat maps, HTML."""
        return self.reports / "evaluation.html"

    @property
    def reference(self) -> Path:
        """Statistics of scores and inputs that the gateway compares with to find drift, JSON."""
        return self.store / "reference.json"
