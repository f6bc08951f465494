"""The description of one trained model: everything that serving needs beside the weights, and its decision."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, Self

OLDER: Final = (
    "it is of an older version of this code, pack it again with `python -m training.repack VERSION --archive FILE`"
)
Confidence = Literal["low", "medium", "high"]


class InvalidSpecError(ValueError):
    """A model description that lacks a field, has one too many, or holds a value out of range."""


@dataclass(frozen=True)
class ModelSpec:
    """Architecture, decision and preprocessing of one model version.

    Attributes:
        version: The model's own version, as clients see it in `model_version`.
        architecture: A timm model name.
        labels: Names of the negative and the positive class, in this order.
        temperature: Divisor of the logit, fitted after training (Guo et al. 2017, arXiv 1706.04599).
        offset: What is taken off the logit before, fitted with the temperature (Platt 1999).
        base_rate: Share of the positive class in the pile that probabilities are meant for.
        operating_point: Name of what the base rate was chosen for, empty where nobody named it.
        true_positive_rate: Share of held-out positive photos with a probability of 0.5 or more, where measured.
        false_positive_rate: The same of the negative ones.
        input_size: Side of the square that the network sees of the whole, in pixels.
        trim_canvas: Whether a canvas of one colour around an image is left out of what the network sees.
        crop_pct: Side of the centred square that the network sees, as a share of the image's shorter side.
        details: How many details at native resolution are seen beside the whole; the logit is the mean of all.
        detail_size: Side of the square that the network sees of each detail, in pixels.
        blocks: How many of a vision transformer's blocks run; 0: the architecture is a convolutional network.
        read_blocks: The blocks, counted from 1, after which the head reads the class token; the last that runs is one.
        hidden: Width of the hidden layer of a vision transformer's head; 0: the head is one linear layer.
        mean: Per-channel mean taken off an RGB input in 0..1.
        std: Per-channel divisor of the same.
    """

    version: str
    architecture: str = "efficientnet_b0"
    labels: tuple[str, str] = ("real", "ai_generated")
    temperature: float = 1.0
    offset: float = 0.0
    base_rate: float = 0.5
    operating_point: str = ""
    true_positive_rate: float | None = None
    false_positive_rate: float | None = None
    input_size: int = 224
    trim_canvas: bool = False
    crop_pct: float = 1.0
    details: int = 0
    detail_size: int = 224
    blocks: int = 0
    read_blocks: tuple[int, ...] = ()
    hidden: int = 0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        for name, accepted in (
            ("temperature", self.temperature > 0),
            ("offset", math.isfinite(self.offset)),
            ("base_rate", 0 < self.base_rate < 1),
            ("input_size", self.input_size > 0),
            ("crop_pct", 0 < self.crop_pct <= 1),
            ("details", self.details >= 0),
            ("detail_size", self.detail_size > 0 and not self._details_of_other_size()),
            ("blocks", self.blocks >= 0),
            ("read_blocks", self._reads_blocks_in_order()),
            ("hidden", self.hidden >= 0 and (self.blocks > 0 or not self.hidden)),
            ("labels", len(self.labels) == 2),  # noqa: PLR2004 - a binary decision
            ("mean", len(self.mean) == 3),  # noqa: PLR2004 - RGB
            ("std", len(self.std) == 3 and all(value > 0 for value in self.std)),  # noqa: PLR2004 - RGB
        ):
            if not accepted:
                raise InvalidSpecError(f"model spec: {name} is out of range: {getattr(self, name)!r}")

    def _details_of_other_size(self) -> bool:
        """Whether a transformer, whose position embedding is of one size, would see details of another."""
        return bool(self.blocks and self.details) and self.detail_size != self.input_size

    def _reads_blocks_in_order(self) -> bool:
        if not self.blocks:
            return not self.read_blocks
        ascending = list(self.read_blocks) == sorted(set(self.read_blocks))
        return ascending and self.read_blocks[:1] > (0,) and self.read_blocks[-1:] == (self.blocks,)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read a spec from YAML or JSON data; unknown and missing fields raise InvalidSpecError."""
        unknown = set(mapping) - {field.name for field in fields(cls)}
        if unknown:
            advice = f": {OLDER}" if "threshold" in unknown else ""
            raise InvalidSpecError(f"model spec: unknown fields {sorted(unknown)}{advice}")
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in mapping.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise InvalidSpecError(f"model spec: {error}") from error

    def to_mapping(self) -> dict[str, Any]:
        """Return plain data that YAML and JSON can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Verdict:
    """A label, the calibrated probability of the positive class (4 decimals), and how far it is from undecided."""

    prediction: str
    probability: float
    confidence: Confidence


def decide(logit: float, spec: ModelSpec) -> Verdict:
    """Calibrate a logit and decide; label and confidence follow from the rounded probability that clients see.

    Calibration is for equally many of both classes; shifting it by the log odds of the spec's base rate gives the
    posterior for a pile of that mix (Saerens et al. 2002, doi 10.1162/089976602753284446). So 0.5 always decides.
    """
    probability = round(_sigmoid((logit - spec.offset) / spec.temperature + log_odds(spec.base_rate)), 4)
    label = spec.labels[probability >= 0.5]  # noqa: PLR2004 - the documented rule
    return Verdict(label, probability, confidence(probability))


def confidence(probability: float) -> Confidence:
    """Return high above 0.8 or below 0.2, low between 0.3 and 0.7, else medium (bounds are medium)."""
    if probability > 0.8 or probability < 0.2:  # noqa: PLR2004 - the documented rule
        return "high"
    return "low" if 0.3 < probability < 0.7 else "medium"  # noqa: PLR2004 - the documented rule


def log_odds(probability: float) -> float:
    """Return the logit of a probability between 0 and 1."""
    return math.log(probability / (1 - probability))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
