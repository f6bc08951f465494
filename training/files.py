"""Where the stages leave and find their files, and how these are written."""

import base64
import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from handler.spec import ModelSpec

DECIMALS = 6
"""Of figures in JSON: more than any of them is worth, and few enough to read."""


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


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file under a temporary name in the same folder, then give it its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, file)  # noqa: PTH105 - named after what it is relied on for


class MissingReportError(RuntimeError):
    """A stage needs what an earlier one writes; the message names both."""


def write_json(file: Path, report: Mapping[str, Any]) -> None:
    """Write a report as JSON, its floats rounded."""
    write_bytes(file, (json.dumps(rounded(report), indent=2, ensure_ascii=False) + "\n").encode())


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with a header line."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(file, text.getvalue().encode())


def require(file: Path, stage: str) -> None:
    """Make sure that a stage has written a file.

    Raises:
        MissingReportError: It has not.
    """
    if not file.is_file():
        raise MissingReportError(f"no {file}: run `python -m training.{stage}` first")


def read_json(file: Path, stage: str) -> dict[str, Any]:
    """Read the report of a stage.

    Raises:
        MissingReportError: The stage has not run.
    """
    require(file, stage)
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def read_optional_json(file: Path) -> dict[str, Any] | None:
    """Read a report that may be absent."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def read_spec(paths: Paths) -> ModelSpec:
    """Read the calibrated spec of a run.

    Raises:
        MissingReportError: The run has not been calibrated.
    """
    require(paths.spec, "calibrate")
    return ModelSpec.from_mapping(yaml.safe_load(paths.spec.read_text(encoding="utf-8")))


def rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Round every float within a JSON value."""
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return value


def write(file: Path, **values: Any) -> None:  # noqa: ANN401 - whatever the template shows
    """Write a page from the template of the same name."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_bytes(file, environment.get_template(file.name).render(values).encode())


def data_uri(content: bytes, kind: str) -> str:
    """Return an image as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
