"""The documented JSON bodies, field for field and in order, and what the model server answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

Prediction = Literal["real", "ai_generated"]
Confidence = Literal["low", "medium", "high"]
InputName = Literal["width", "height", "megapixels", "bytes_per_pixel", "brightness", "sharpness"]
"""Statistics of an image, which the model server measures."""

Probability = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="P(AI-generated), calibrated for the model's base rate, 4 decimals; `prediction` is "
        "`ai_generated` from 0.5 up.",
    ),
]
InferenceTime = Annotated[float, Field(ge=0, description="Wall time of the model server's answer, queueing included.")]
ModelVersion = Annotated[str, Field(description="The version of the model that answered this request.")]
Heatmap = Annotated[
    str,
    Field(
        description="Base64 of a JPEG: the photo with the heat map over it. It shows what speaks for `prediction`; "
        "where nothing does, the photo and the JPEG's comment say so."
    ),
]
Strength = Literal["strong", "medium", "weak"]
EvidenceType = Literal[
    "c2pa_manifest",
    "c2pa_source_type",
    "c2pa_generator",
    "c2pa_ingredient",
    "iptc_source_type",
    "iptc_ai_field",
    "aigc_label",
    "generator_parameters",
    "generator_software",
    "incomplete",
]
Count = Annotated[int, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]


class _Body(BaseModel):
    # `model_version` is a documented name, so pydantic must not keep `model_` for itself.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        json_schema_serialization_defaults_required=True,  # answers carry every field
    )


class PredictionBody(_Body):
    """The answer of `POST /predict`."""

    prediction: Prediction
    probability: Probability
    confidence: Confidence
    inference_time_ms: InferenceTime
    model_version: ModelVersion


class ComparisonBody(_Body):
    """The answer of `POST /predict/compare`."""

    primary: PredictionBody = Field(description="The live version's prediction.")
    shadow: PredictionBody = Field(description="The shadow version's prediction.")
    agreement: bool = Field(description="Whether both predictions are the same.")
    difference: Ratio = Field(description="Difference of the two probabilities, 4 decimals.")
    message: str | None = Field(default=None, description="Always null: without a shadow version the answer is 404.")


class ExplanationBody(_Body):
    """The answer of `POST /predict/explain`."""

    prediction: Prediction
    probability: Probability
    confidence: Confidence
    heatmap_base64: Heatmap
    inference_time_ms: InferenceTime
    model_version: ModelVersion


class Evidence(_Body):
    """One thing that the image's file says about its origin; it is no part of the probability."""

    type: EvidenceType
    value: str = Field(min_length=1, max_length=80, description="What was found, from a fixed vocabulary.")
    strength: Strength = Field(description="How hard it is to forge: `strong` only when signed by a trusted signer.")


class PredictionWithEvidence(PredictionBody):
    """The answer of `POST /predict?include=evidence`."""

    evidence: list[Evidence]


class ExplanationWithEvidence(ExplanationBody):
    """The answer of `POST /predict/explain?include=evidence`."""

    evidence: list[Evidence]


class BatchItem(_Body):
    """One file of a batch: a verdict, or an error and nulls."""

    filename: str
    prediction: Prediction | None = None
    probability: Probability | None = None
    confidence: Confidence | None = None
    error: str | None = None


class BatchBody(_Body):
    """The answer of `POST /predict/batch`; results are in the order of the files."""

    results: list[BatchItem]
    total: Count
    successful: Count
    failed: Count
    total_inference_time_ms: float = Field(ge=0, description="Wall time of the whole batch, not the sum.")
    model_version: ModelVersion | None


class HealthBody(_Body):
    """The answer of `GET /health`."""

    status: Literal["healthy", "unhealthy"]
    model_loaded: bool
    model_version: str
    uptime_seconds: float = Field(ge=0)
    active_requests: Count
    drift_detected: bool
    predictions_total: Count


class ModelInfo(_Body):
    """What a verdict of the model means; the rates are of held-out photos, and null where nobody measured them."""

    base_rate: Ratio = Field(description="Share of AI-generated images that probabilities assume.")
    operating_point: str = Field(description="What the base rate was chosen for; empty if unnamed.")
    true_positive_rate: Ratio | None = Field(
        description="Share of AI-generated images with a probability of 0.5 or more."
    )
    false_positive_rate: Ratio | None = Field(description="Share of real images with a probability of 0.5 or more.")


class Verdict(BaseModel):
    """What the model server answers about one image; `model` and `inputs` are for `/health` and `/drift`."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    prediction: Prediction
    probability: float = Field(ge=0, le=1)
    confidence: Confidence
    model_version: str = Field(min_length=1)
    model: ModelInfo | None = Field(default=None, exclude=True)
    inputs: dict[InputName, FiniteFloat] = Field(default_factory=dict, exclude=True)

    @field_validator("inputs", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:  # noqa: ANN401 - whatever an archive sends
        known = get_args(InputName)
        return {name: found for name, found in value.items() if name in known} if isinstance(value, dict) else value

    def agrees_with(self, other: Verdict) -> bool:
        """Whether both predictions are the same."""
        return self.prediction == other.prediction

    def differs_by(self, other: Verdict) -> float:
        """How far the probabilities are apart, with their 4 decimals."""
        return round(abs(self.probability - other.probability), 4)


class Explanation(Verdict):
    """A verdict with its heat map, a JPEG in base64."""

    heatmap_base64: str = Field(min_length=1)


class HealthWithModel(HealthBody):
    """The answer of `GET /health?include=model`."""

    model: ModelInfo | None = Field(description="Null while no model has answered.")


class AliveBody(_Body):
    """The answer of `GET /healthz`."""

    alive: Literal[True] = True


class ReadyBody(_Body):
    """The answer of `GET /readyz`."""

    ready: bool


class StartedBody(_Body):
    """The answer of `GET /startup`."""

    started: bool


class IndexBody(_Body):
    """The answer of `GET /`."""

    name: str
    version: str
    links: dict[str, str]


DriftStatus = Literal["monitoring", "collecting", "other_version", "no_reference"]


class DriftSummary(_Body):
    """One statistic of the pictures that were measured."""

    samples: Count
    mean: float
    std: float = Field(ge=0)


class DriftStatistics(_Body):
    """Scores and pictures of one model version: those of the window, or of the reference."""

    model_version: ModelVersion
    samples: Count
    mean: Probability
    std: float = Field(ge=0, description="Standard deviation of the probability.")
    low_confidence_ratio: Ratio
    confidence_ratios: dict[Confidence, Ratio] | None = Field(description="Null in the reference.")
    class_ratios: dict[Prediction, Ratio]
    inputs: dict[str, DriftSummary]


class DriftCheck(_Body):
    """One comparison with the reference; without a score while too few values are there."""

    name: str
    score: float | None
    threshold: float | None
    samples: Count
    alert: bool


class DriftBody(_Body):
    """The answer of `GET /drift`."""

    status: DriftStatus
    reason: str | None = Field(description="Why nothing, or not everything, is compared; else null.")
    window_size: Count
    window_capacity: Count
    min_samples: Count
    false_alarm_rate: Ratio = Field(description="Maximum false alarms per window, all checks together.")
    reference_source: Literal["shipped", "own traffic"] | None = Field(
        description="The model's calibration, which never alerts, or the first predictions here; null without either."
    )
    reference_since: str | None = Field(description="When own traffic became the reference, RFC 3339.")
    reference: DriftStatistics | None
    current: DriftStatistics | None
    checks: list[DriftCheck]
    alerts: list[str]
    drift_detected: bool
    drift_score: float = Field(ge=0, description="The worst check's score over its threshold; drift above 1.")


class DriftHistogram(_Body):
    """Shares of the scores in bins over 0..1; a bin holds its lower edge, the last one also its upper."""

    edges: list[Probability]
    reference: list[Ratio] | None = Field(description="Null where the reference has none.")
    current: list[Ratio] | None = Field(description="Null while the window is empty.")


class DriftWithHistogram(DriftBody):
    """The answer of `GET /drift?include=histogram`."""

    histogram: DriftHistogram


class Retention(_Body):
    """One kind of data and how long it is kept."""

    data: str
    kept: str


class PrivacyBody(_Body):
    """The answer of `GET /privacy`."""

    service: str
    version: str
    contact: str | None = Field(description="Contact; null if the operator names none.")
    summary: str
    processed: list[str]
    logged: list[str]
    not_logged: list[str]
    retention: list[Retention]
    recipients: list[str]


class ErrorBody(_Body):
    """Every error, from every layer."""

    error: str
    detail: str


class ProblemBody(_Body):
    """The same error as RFC 9457 has it, for a client that accepts `application/problem+json`."""

    type: str = Field(description="A URN that ends in the error's stable code.")
    title: str
    status: int
    detail: str
