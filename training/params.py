"""`params.yaml` and command-line overrides to frozen, checked dataclasses; the only reader of that file.

`python -m training.params` writes settings into it, a preset's and others, or into that of a folder apart.
"""

import argparse
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from ruamel.yaml import YAML

from handler.spec import ModelSpec
from training.files import Paths, write_bytes

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Quality = Annotated[int, Field(ge=1, le=100)]
Weights = Literal["package", "hub", "random"] | Annotated[str, Field(pattern=r"\.(mar|safetensors)$")]
"""ImageNet's by name, none, or the file of a trained detector."""
_STRICT = ConfigDict(extra="forbid")
CLIP: dict[str, Any] = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}
"""What CLIP's pixels are normalised by."""
OperatingPoint = Literal["balanced", "false_alarms_5", "false_alarms_1"]
LOOPBACK = "localhost,127.0.0.1,::1"
ROOT = Path(__file__).absolute().parent.parent
PRESETS = Path(__file__).with_name("presets")


class InvalidParamsError(ValueError):
    """A parameter that is missing, unknown or out of range; the message names it."""


@dataclass(frozen=True, config=_STRICT)
class DataParams:
    """Where the images come from, where the stages find them, and how many processes decode them."""

    source: str
    per_class: Count
    split_seed: Annotated[int, Field(ge=0)]
    root: Path
    manifest: Path
    num_workers: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=_STRICT)
class ValidateParams:
    """What the data must hold to; AUCs are of the leak report."""

    strict: bool
    near_duplicate_bits: Annotated[int, Field(ge=0, le=64)]
    max_metadata_auc: Share
    max_statistics_auc: Share


@dataclass(frozen=True, config=_STRICT)
class ModelParams:
    """What is trained, and the preprocessing that it will be served with."""

    version: str
    architecture: str
    weights: Weights
    input_size: Count
    trim_canvas: bool
    crop_pct: Share
    details: Annotated[int, Field(ge=0)]
    detail_size: Count
    blocks: Annotated[int, Field(ge=0)]
    read_blocks: list[int]
    hidden: Annotated[int, Field(ge=0)]

    def spec(
        self, temperature: float = 1.0, offset: float = 0.0, base_rate: float = 0.5, operating_point: str = ""
    ) -> ModelSpec:
        """Return the model's description with what calibration found."""
        fields = asdict(self) | {"read_blocks": tuple(self.read_blocks)} | (CLIP if self.blocks else {})
        del fields["weights"]
        return ModelSpec(
            **fields, temperature=temperature, offset=offset, base_rate=base_rate, operating_point=operating_point
        )


@dataclass(frozen=True, config=_STRICT)
class TrainParams:
    """Optimisation; names follow PyTorch Lightning's Trainer and torch's AdamW."""

    seed: int
    epochs: Count
    batch_size: Count
    input_size: Count
    late_input_size: Count
    late_share: Probability
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    source_power: Probability
    early_stopping_patience: Count
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    compile: bool
    accelerator: str
    devices: int | Literal["auto"]

    def window_size(self, epoch: int) -> int:
        """Return the side of an epoch's training windows, in pixels; epochs count from 0."""
        return self.input_size if epoch < self.epochs * (1 - self.late_share) else self.late_input_size


@dataclass(frozen=True, config=_STRICT)
class AugmentParams:
    """Random changes to training images, drawn alike for both classes."""

    window_min_side: Count
    native_share: Probability
    crop_probability: Probability
    crop_min_share: Share
    rescale_probability: Probability
    rescale_min: Annotated[float, Field(gt=0)]
    rescale_max: Annotated[float, Field(gt=0)]
    recompress_probability: Probability
    quality_min: Quality
    quality_max: Quality
    webp_share: Probability
    blur_probability: Probability
    blur_radius_max: Annotated[float, Field(ge=0.2)]
    colour_probability: Probability
    colour_jitter: Share
    noise_probability: Probability
    noise_deviation_max: Annotated[float, Field(ge=1)]
    white_background_probability: Probability
    cutmix_probability: Probability
    degraded_copies: Annotated[int, Field(ge=0)]
    degraded_weight: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, config=_STRICT)
class CalibrateParams:
    """Which operating point's base rate ships: best balanced accuracy, or at most 5 % or 1 % false alarms."""

    operating_point: OperatingPoint


@dataclass(frozen=True, config=_STRICT)
class EvaluateParams:
    """How the figures on the model card are computed, and by how much they may fall below the baseline's."""

    splits: list[Literal["dev", "test"]]
    batch_size: Count
    bootstrap_samples: Count
    product_domains: list[str]
    max_regression: Share


@dataclass(frozen=True, config=_STRICT)
class CrossvalidateParams:
    """Leave-sources-out cross-validation: how many folds of whole sources (0: none), and how long each trains."""

    folds: Annotated[int, Field(ge=0)]
    epochs: Count


@dataclass(frozen=True, config=_STRICT)
class Params:
    """All of `params.yaml`."""

    data: DataParams
    validate: ValidateParams
    model: ModelParams
    train: TrainParams
    augment: AugmentParams
    crossvalidate: CrossvalidateParams
    calibrate: CalibrateParams
    evaluate: EvaluateParams


def load(path: Path, overrides: list[str] | None = None) -> Params:
    """Read a parameter file; each override is `section.key=value` with a YAML value.

    Raises:
        InvalidParamsError: The file or an override names what does not exist, or a value is out of range.
    """
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for override in overrides or []:
        _override(values, override)
    try:
        return TypeAdapter(Params).validate_python(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidParamsError(f"{path}: {problems}") from error


def dump(params: Params, path: Path) -> None:
    """Write the parameters as YAML that `load` reads back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(TypeAdapter(Params).dump_python(params, mode="json"), sort_keys=False))


def _override(values: dict[str, Any], override: str) -> None:
    name, equals, value = override.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and isinstance(values.get(section), dict)):
        raise InvalidParamsError(f"--set {override}: write SECTION.KEY=VALUE with a section of {', '.join(values)}")
    values[section][key] = yaml.safe_load(value)


def parse_command_line(stage: str) -> tuple[Params, Paths, argparse.Namespace]:
    """Read the arguments that every stage has, and those of this one."""
    parser = argparse.ArgumentParser(prog=f"python -m training.{stage}")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument(
        "--set", nargs="*", action="extend", default=[], metavar="SECTION.KEY=VALUE", help="override parameters"
    )
    parser.add_argument("--run", type=Path, default=Paths.run, help="folder of this run's checkpoints and figures")
    parser.add_argument("--store", type=Path, default=Paths.store, help="folder that TorchServe serves from")
    parser.add_argument("--reports", type=Path, default=Paths.reports, help="folder of figures, plots and pages")
    if stage == "train":
        parser.add_argument("--resume", action="store_true", help="resume from the run's last checkpoint")
        parser.add_argument(
            "--resume-interrupted", action="store_true", help="resume only if this training was interrupted"
        )
        parser.add_argument("--fast-dev-run", action="store_true", help="run one batch per loop; write nothing")
    if stage == "validate":
        parser.add_argument("--strict", action="store_true", help="fail on findings, like validate.strict=true")
    if stage == "gate":
        parser.add_argument("--accept", action="store_true", help="make this evaluation the new baseline")
    arguments = parser.parse_args()
    _spare_loopback()
    strict = ["validate.strict=true"] if getattr(arguments, "strict", False) else []
    try:
        params = load(arguments.params, arguments.set + strict)
    except InvalidParamsError as error:
        parser.error(str(error))
    return params, Paths(arguments.run, arguments.store, arguments.reports), arguments


def _spare_loopback() -> None:
    """Let no proxy come between a stage and MLflow on this machine; a hub far away is asked as the environment says."""
    spared = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if spared.strip() != "*":
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, (spared, LOOPBACK)))


def write_settings(file: Path, overrides: Sequence[str]) -> None:
    """Write `section.key=value` overrides into a parameter file, in one step and only if all of them are valid.

    Raises:
        InvalidParamsError: An override names what does not exist, or a value is out of range; the file is as it was.
    """
    load(file, list(overrides))
    editor = YAML()
    editor.width = 200  # lines are not broken
    editor.preserve_quotes = True
    values = editor.load(file)
    for override in overrides:
        name, _, value = override.partition("=")
        section, _, key = name.partition(".")
        values[section][key] = YAML().load(value)
    text = io.StringIO()
    editor.dump(values, text)
    write_bytes(file, text.getvalue().encode())


def preset(name: str) -> Iterator[str]:
    """Yield a preset's settings as overrides."""
    for section, values in yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8")).items():
        for key, value in values.items():
            yield f"{section}.{key}={value}"


def named_files(file: Path, overrides: Sequence[str]) -> Iterator[str]:
    """Yield overrides by which data and weights that are named from here are found from another folder as well.

    Raises:
        InvalidParamsError: An override names what does not exist, or a value is out of range.
    """
    params = load(file, list(overrides))
    named = {"data.source": params.data.source, "model.weights": params.model.weights}
    for setting, value in named.items():
        if value not in {"cifake", "tiny", "package", "hub", "random"} and Path(value).exists():
            yield f"{setting}={json.dumps(str(Path(value).resolve()))}"


def prepare_apart(folder: Path) -> Path:
    """Make a folder in which DVC runs the pipeline apart from this checkout, and return its parameter file.

    It has this checkout's stages, parameters and code, the latter linked, and a DVC of its own: what its stages write
    comes below the folder.
    """
    (folder / ".dvc").mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots", dirs_exist_ok=True)
    settings = (ROOT / ".dvc/config").read_text(encoding="utf-8")
    # Git ignores the folder, and DVC takes no stages from a place that Git ignores.
    write_bytes(folder / ".dvc/config", settings.replace("[core]\n", "[core]\n    no_scm = true\n").encode())
    for name in (".dvcignore", "dvc.yaml", "params.yaml"):
        write_bytes(folder / name, (ROOT / name).read_bytes())
    for name in ("handler", "training"):
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(ROOT / name, folder), target_is_directory=True)
    return folder / "params.yaml"


def main() -> None:
    """Write settings from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.params",
        description="Write settings into `params.yaml`, where DVC looks for them; comments and layout stay.",
    )
    parser.add_argument("overrides", nargs="*", metavar="SECTION.KEY=VALUE")
    parser.add_argument("--preset", choices=sorted(file.stem for file in PRESETS.glob("*.yaml")), help="settings first")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--params", type=Path, default=Path("params.yaml"))
    where.add_argument("--apart", type=Path, metavar="FOLDER", help="prepare a folder to run the pipeline in instead")
    arguments = parser.parse_args()
    overrides = [*(preset(arguments.preset) if arguments.preset else ()), *arguments.overrides]
    file = prepare_apart(arguments.apart) if arguments.apart else arguments.params
    try:
        if arguments.apart:
            overrides += named_files(file, overrides)
        write_settings(file, overrides)
    except InvalidParamsError as error:
        parser.error(str(error))
    print(f"{file}: {', '.join(overrides)}")


if __name__ == "__main__":
    main()
