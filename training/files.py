"""Where the stages leave and find their files, and how these are written."""

import base64
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from handler.spec import ModelSpec

DECIMALS = 6
"""Of figures in JSON: more than any of them is worth, and few enough to read."""


class StageError(RuntimeError):
    """What a stage refuses, in one line for its user."""


class _Below:
    """A file or folder of one of the folders of `Paths`."""

    def __init__(self, folder: str, name: str) -> None:
        self.folder, self.name = folder, name

    def __get__(self, paths: "Paths", owner: type["Paths"] | None = None) -> Path:
        folder: Path = getattr(paths, self.folder)
        return folder / self.name


@dataclass(frozen=True)
class Paths:
    """One run's folder, the store that TorchServe serves from, and the folder of what people read."""

    run: Path = Path("runs/default")
    store: Path = Path("model_store")
    reports: Path = Path("reports")

    checkpoints = _Below("run", "checkpoints")
    """Folder of Lightning checkpoints: `best.ckpt` and `last.ckpt`."""
    weights = _Below("run", "model.safetensors")
    """Weights of the best epoch."""
    graph = _Below("run", "graphs/network.xml")
    """The network as OpenVINO serves it, which reads its numbers from `weights`."""
    features = _Below("run", "features.safetensors")
    """The class tokens that a frozen network computes from the images."""
    used_params = _Below("run", "params.yaml")
    """The parameters of the training run."""
    spec = _Below("run", "spec.yaml")
    """The calibrated ModelSpec."""
    folds = _Below("run", "folds")
    """Folder of the runs of cross-validation, one per fold."""
    out_of_fold = _Below("run", "out_of_fold.csv")
    """Logits of the images whose source a fold left out."""
    data_validation = _Below("reports", "data_validation.json")
    """What `validate` found; the page with images is beside it."""
    crossvalidation = _Below("reports", "crossvalidation.json")
    """Figures of leave-sources-out cross-validation."""
    calibration = _Below("reports", "calibration.json")
    """Temperature, operating points and calibration error before and after."""
    metrics = _Below("reports", "metrics.json")
    """Headline figures of the evaluation, nested numbers: what `dvc metrics` and the gate compare."""
    tables = _Below("reports", "tables.json")
    """Figures of the evaluation by source, generator and domain, and the data's summary."""
    curves = _Below("reports", "curves")
    """Folder of what `dvc plots` draws: per split roc.csv, pr.csv and confusion.csv."""
    baseline = _Below("reports", "baseline.json")
    """Figures of the version before, which the gate compares with."""
    figures = _Below("reports", "figures")
    """Folder of plots, PNG, in one folder per stage."""
    evaluation_page = _Below("reports", "evaluation.html")
    """Plots and the worst errors with their heat maps."""
    reference = _Below("store", "reference.json")
    """Statistics of scores and inputs that the gateway compares with to find drift."""


@contextmanager
def refusals(command: str, *also: type[Exception]) -> Iterator[None]:
    """End the process with one line where a stage refuses, or where it fails in one of the ways that are named."""
    refused: tuple[type[Exception], ...] = (StageError, *also)
    try:
        yield
    except refused as error:
        raise SystemExit(f"{command}: {error}") from error


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file under a temporary name in the same folder, then give it its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, file)  # noqa: PTH105 - named after what it is relied on for


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
        StageError: It has not.
    """
    if not file.is_file():
        raise StageError(f"no {file}: run `python -m training.{stage}` first")


def read_json(file: Path, stage: str) -> dict[str, Any]:
    """Read the report of a stage.

    Raises:
        StageError: The stage has not run.
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
        StageError: The run has not been calibrated.
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
