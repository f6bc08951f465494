"""Where the stages leave and find their files, and how these are written."""

import base64
import csv
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml
from PIL import Image

from handler.spec import ModelSpec

MODEL_NAME = "product-photo-detector"
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

    checkpoints = _Below("run", "checkpoints")  # folder of Lightning's: `best.ckpt` and `last.ckpt`
    weights = _Below("run", "model.safetensors")  # of the best epoch
    graph = _Below("run", "graphs/network.xml")  # as OpenVINO serves the network; it reads its numbers from `weights`
    features = _Below("run", "features.safetensors")  # class tokens that a frozen network computes from the images
    used_params = _Below("run", "params.yaml")  # the parameters of the training run
    spec = _Below("run", "spec.yaml")  # the calibrated ModelSpec
    unfinished = _Below("run", "unfinished")  # while a training runs: what tells it from others
    run_id = _Below("run", "mlflow_run_id")  # of the training's run in MLflow, which later stages join
    folds = _Below("run", "folds")  # folder of the runs of cross-validation, one per fold
    out_of_fold = _Below("run", "out_of_fold.csv")  # logits of the images whose source a fold left out
    data_validation = _Below("reports", "data_validation.json")  # what `validate` found; its page is beside it
    crossvalidation = _Below("reports", "crossvalidation.json")  # figures of leave-sources-out cross-validation
    calibration = _Below("reports", "calibration.json")  # temperature, operating points, error before and after
    metrics = _Below("reports", "metrics.json")  # headline figures, nested: what `dvc metrics` and the gate compare
    tables = _Below("reports", "tables.json")  # figures by source, generator and domain, and the data's summary
    curves = _Below("reports", "curves")  # folder of what `dvc plots` draws: per split roc, pr and confusion, CSV
    baseline = _Below("reports", "baseline.json")  # figures of the version before, which the gate compares with
    figures = _Below("reports", "figures")  # folder of plots, PNG, in one folder per stage
    evaluation_page = _Below("reports", "evaluation.html")  # plots and the worst errors with their heat maps
    archive = _Below("store", f"{MODEL_NAME}.mar")  # what TorchServe serves
    model_card = _Below("store", "MODEL_CARD.md")  # what is known of the archive's model
    reference = _Below("store", "reference.json")  # statistics that the gateway compares with to find drift


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
    rounded = json.loads(json.dumps(report), parse_float=lambda number: round(float(number), DECIMALS))
    write_bytes(file, (json.dumps(rounded, indent=2, ensure_ascii=False) + "\n").encode())


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


def unpack(archive: Path, folder: Path) -> tuple[dict[str, Any], Path]:
    """Unpack an archive; return its spec's fields, which may be of an older version, and the path of its weights."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    fields: dict[str, Any] = yaml.safe_load((folder / "model-config.yaml").read_text(encoding="utf-8"))["spec"]
    return fields, folder / "model.safetensors"


def write(file: Path, **values: Any) -> None:  # noqa: ANN401 - whatever the template shows
    """Write a page from the template of the same name."""
    write_bytes(file, render(file.name, **values).encode())


def render(name: str, **values: Any) -> str:  # noqa: ANN401 - whatever the template shows
    """Return a template filled in; in HTML, values are text and blocks leave no gaps."""
    html = name.endswith(".html")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training"),
        autoescape=jinja2.select_autoescape(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=html,
        lstrip_blocks=html,
        keep_trailing_newline=not html,
    )
    return environment.get_template(name).render(values)


def jpeg_uri(image: Image.Image, quality: int) -> str:
    """Return an image, saved as JPEG, as an address that holds it."""
    saved = io.BytesIO()
    image.save(saved, "JPEG", quality=quality)
    return data_uri(saved.getvalue(), "jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """Return an image file as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
