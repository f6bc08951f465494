"""`params.yaml` and command-line overrides to frozen, checked dataclasses; the only reader of that file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from handler.spec import ModelSpec

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Quality = Annotated[int, Field(ge=1, le=100)]
_STRICT = ConfigDict(extra="forbid")


class InvalidParamsError(ValueError):
    """A parameter that is missing, unknown or out of range; the message names it."""


@dataclass(frozen=True, config=_STRICT)
class DataParams:
    """Where the pictures are and how many processes decode them."""

    root: Path
    manifest: Path
    num_workers: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=_STRICT)
class ModelParams:
    """What is trained, and the preprocessing that it will be served with."""

    version: str
    architecture: str
    pretrained: bool
    input_size: Count
    crop_pct: Share

    def spec(self, temperature: float = 1.0) -> ModelSpec:
        """Return the model's description with the temperature that calibration found."""
        return ModelSpec(
            version=self.version,
            architecture=self.architecture,
            input_size=self.input_size,
            crop_pct=self.crop_pct,
            temperature=temperature,
        )


@dataclass(frozen=True, config=_STRICT)
class TrainParams:
    """Optimisation; names follow PyTorch Lightning's Trainer and torch's AdamW."""

    seed: int
    epochs: Count
    batch_size: Count
    input_size: Count
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    early_stopping_patience: Count
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    compile: bool
    accelerator: str
    devices: int | Literal["auto"]


@dataclass(frozen=True, config=_STRICT)
class AugmentParams:
    """Random changes to training pictures, drawn alike for both classes."""

    crop_scale_min: Share
    jpeg_quality_min: Quality
    jpeg_quality_max: Quality
    recompress_probability: Probability
    blur_probability: Probability


@dataclass(frozen=True, config=_STRICT)
class EvaluateParams:
    """How the figures on the model card are computed."""

    batch_size: Count
    bootstrap_samples: Count


@dataclass(frozen=True, config=_STRICT)
class Params:
    """All of `params.yaml`."""

    data: DataParams
    model: ModelParams
    train: TrainParams
    augment: AugmentParams
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
