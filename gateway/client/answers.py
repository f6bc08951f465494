"""The gateway's answers as frozen dataclasses: the documented fields, and no others."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from gateway.client.errors import GatewayError

Prediction = Literal["real", "ai_generated"]
Confidence = Literal["low", "medium", "high"]
JPEG_START = b"\xff\xd8"
EMPTY_HEATMAP = b"no region speaks for this verdict"
"""The comment of such a heat map's JPEG."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """One thing that the photo's file says about its origin; it is no part of the probability."""

    type: str
    value: str
    strength: Literal["strong", "medium", "weak"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the model says of one photo; `evidence` is None unless it was asked for."""

    prediction: Prediction
    probability: float
    confidence: Confidence
    inference_time_ms: float | None
    """Wall time of the model server's answer; None in a batch, which is timed as a whole."""
    model_version: str
    """The version that answered; in a batch the one that answered last."""
    evidence: tuple[Evidence, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError("probability is not a number from 0 to 1")
        if self.inference_time_ms is not None and not self.inference_time_ms >= 0:
            raise ValueError("inference_time_ms is not a duration")
        if not self.model_version:
            raise ValueError("model_version is empty")


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation(Verdict):
    """A verdict with the regions that drove it."""

    heatmap_base64: str = field(repr=False)

    def __post_init__(self) -> None:
        # super() does not find its way in a class with slots on Python 3.11.
        Verdict.__post_init__(self)
        if not self.heatmap.startswith(JPEG_START):
            raise ValueError("heatmap_base64 is not a JPEG")

    @property
    def heatmap(self) -> bytes:
        """A JPEG: the photo, upright, with the heat map over it."""
        try:
            return base64.b64decode(self.heatmap_base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("heatmap_base64 is not base64") from error

    @property
    def heatmap_is_empty(self) -> bool:
        """Whether no region speaks for the verdict, so that the heat map is the photo with these words."""
        return EMPTY_HEATMAP in self.heatmap


@dataclass(frozen=True, slots=True)
class Failure:
    """A photo without a verdict, and why."""

    error: GatewayError


Outcome = Verdict | Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchResult:
    """One outcome a photo, in the photos' order."""

    results: tuple[Outcome, ...]
    total: int
    successful: int
    failed: int
    total_inference_time_ms: float
    model_version: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The live and the shadow version's verdicts on one photo."""

    primary: Verdict
    shadow: Verdict
    agreement: bool
    difference: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInfo:
    """What a verdict of the model means; the rates are of held-out photos, and None where nobody measured them."""

    base_rate: float
    """Share of AI-generated images that probabilities assume."""
    operating_point: str
    true_positive_rate: float | None
    false_positive_rate: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """State of the service and of its model; `model` is None unless it was asked for."""

    status: Literal["healthy", "unhealthy"]
    model_loaded: bool
    model_version: str
    uptime_seconds: float
    active_requests: int
    drift_detected: bool
    predictions_total: int
    model: ModelInfo | None = None
    """None unless it was asked for, and while no model has answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """Name and version of the gateway, and its routes by their names."""

    name: str
    version: str
    links: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftSummary:
    """One statistic of the pictures that were measured."""

    samples: int
    mean: float
    std: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftStatistics:
    """Scores and pictures of one model version: those of the window, or of the reference."""

    model_version: str
    samples: int
    mean: float
    std: float
    low_confidence_ratio: float
    confidence_ratios: Mapping[str, float] | None
    class_ratios: Mapping[str, float]
    inputs: Mapping[str, DriftSummary]


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftCheck:
    """One comparison with the reference; without a score while too few values are there."""

    name: str
    score: float | None
    threshold: float | None
    samples: int
    alert: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftHistogram:
    """Shares of the scores in bins over 0..1."""

    edges: tuple[float, ...]
    reference: tuple[float, ...] | None
    current: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """The newest predictions beside the model's reference; `histogram` is None unless it was asked for."""

    status: Literal["monitoring", "collecting", "other_version", "no_reference"]
    reason: str | None
    window_size: int
    window_capacity: int
    min_samples: int
    false_alarm_rate: float
    reference: DriftStatistics | None
    current: DriftStatistics | None
    checks: tuple[DriftCheck, ...]
    alerts: tuple[str, ...]
    drift_detected: bool
    drift_score: float
    reference_source: Literal["shipped", "own traffic"] | None = None
    reference_since: str | None = None
    histogram: DriftHistogram | None = None


def read(kind: type[T], body: object) -> T:
    """Build a dataclass from a JSON object; fields that it does not declare are ignored.

    Raises:
        ValueError: A field is missing or not of its type; the text names the field and quotes nothing.
    """
    if not isinstance(body, Mapping):
        raise ValueError("no JSON object")  # noqa: TRY004 - one error for every odd body
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for entry in fields(cast("Any", kind)):  # every kind is a dataclass
        if entry.name in body:
            found[entry.name] = _value(hints[entry.name], body[entry.name], entry.name)
        elif entry.default is MISSING:
            raise ValueError(f"{entry.name} is missing")
    return kind(**found)


def _value(kind: Any, value: object, name: str) -> object:  # noqa: ANN401 - a type hint
    arguments = get_args(kind)
    match get_origin(kind):
        case origin if origin in {Union, UnionType}:
            one = next(argument for argument in arguments if argument is not NoneType)
            found = None if value is None else _value(one, value, name)
        case origin if origin is tuple:
            entries = _checked(isinstance(value, list), value, name)
            found = tuple(_value(arguments[0], entry, name) for entry in entries)
        case origin if origin is Mapping:
            entries = _checked(isinstance(value, Mapping), value, name)
            found = {key: _value(arguments[1], entry, name) for key, entry in entries.items()}
        case origin if origin is Literal:
            found = _checked(isinstance(value, str) and value in arguments, value, name)
        case _:
            found = read(cast("type[Any]", kind), value) if is_dataclass(kind) else _plain(kind, value, name)
    return found


def _plain(kind: Any, value: object, name: str) -> object:  # noqa: ANN401 - a type hint
    if kind is float:
        return float(_checked(isinstance(value, int | float) and not isinstance(value, bool), value, name))
    return _checked(type(value) is kind, value, name)


def _checked(right: bool, value: Any, name: str) -> Any:  # noqa: ANN401 - any JSON
    if not right:
        raise ValueError(f"{name} is not as documented")
    return value
