"""The documented JSON bodies, field for field and in order, with examples; and what the model server answers."""

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

PROBLEM_TYPE: Final = "urn:ai-product-photo-detector:error:"
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
        examples=[0.87],
    ),
]
InferenceTime = Annotated[
    float, Field(ge=0, description="Wall time of the model server's answer, queueing included.", examples=[45.2])
]
ModelVersion = Annotated[
    str, Field(description="The version of the model that answered this request.", examples=["1.0.0"])
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
Count = Annotated[int, Field(ge=0, examples=[1000])]
Ratio = Annotated[float, Field(ge=0, le=1, examples=[0.05])]


class _Body(BaseModel):
    # `model_version` is a documented name, so pydantic must not keep `model_` for itself. Only what `include` asks for
    # has a default, and is not in an answer otherwise.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Evidence(_Body):
    """One thing that the image's file says about its origin; it is no part of the probability."""

    type: EvidenceType = Field(examples=["generator_software"])
    value: str = Field(
        min_length=1, max_length=80, description="What was found, from a fixed vocabulary.", examples=["DALL-E"]
    )
    strength: Strength = Field(
        description="How hard it is to forge: `strong` only when signed by a trusted signer.", examples=["weak"]
    )


class _Predicted(_Body):
    prediction: Prediction = Field(examples=["ai_generated"])
    probability: Probability
    confidence: Confidence = Field(examples=["high"])


class PredictionBody(_Predicted):
    """The prediction."""

    inference_time_ms: InferenceTime
    model_version: ModelVersion
    evidence: list[Evidence] | None = Field(default=None, description="What the file says, if asked for.")


class ComparisonBody(_Body):
    """Both predictions and their difference."""

    primary: PredictionBody = Field(description="The live version's prediction.")
    shadow: PredictionBody = Field(description="The shadow version's prediction.")
    agreement: bool = Field(description="Whether both predictions are the same.", examples=[True])
    difference: Ratio = Field(description="Difference of the two probabilities, 4 decimals.", examples=[0.0])
    message: None = Field(description="Always null: without a shadow version the answer is 404.")


class ExplanationBody(_Predicted):
    """The prediction with its Grad-CAM heat map."""

    heatmap_base64: str = Field(
        description="Base64 of a JPEG: the image with the heat map over it. It shows what speaks for `prediction`; "
        "where nothing does, the image and the JPEG's comment say so.",
        examples=["/9j/4AAQ"],
    )
    inference_time_ms: InferenceTime
    model_version: ModelVersion
    evidence: list[Evidence] | None = Field(default=None, description="What the file says, if asked for.")


class BatchItem(_Body):
    """One file of a batch: a prediction, or an error and nulls."""

    filename: str = Field(examples=["image1.jpg"])
    prediction: Prediction | None = Field(examples=["real"])
    probability: Probability | None = Field(examples=[0.12])
    confidence: Confidence | None = Field(examples=["high"])
    error: str | None


class BatchBody(_Body):
    """A prediction or an error per file, in the order of the files."""

    results: list[BatchItem]
    total: Count = Field(examples=[1])
    successful: Count = Field(examples=[1])
    failed: Count = Field(examples=[0])
    total_inference_time_ms: InferenceTime = Field(description="Wall time of the whole batch, not the sum.")
    model_version: ModelVersion | None = Field(examples=["1.0.0"])


class ModelInfo(_Body):
    """What the model's predictions mean; the rates are of held-out images, and null where nobody measured them."""

    base_rate: Ratio = Field(description="Share of AI-generated images that probabilities assume.", examples=[0.1876])
    operating_point: str = Field(
        description="What the base rate was chosen for; empty if unnamed.", examples=["false_alarms_5"]
    )
    true_positive_rate: Ratio | None = Field(
        description="Share of AI-generated images with a probability of 0.5 or more.", examples=[0.342]
    )
    false_positive_rate: Ratio | None = Field(
        description="Share of real images with a probability of 0.5 or more.", examples=[0.064]
    )


class HealthBody(_Body):
    """State of the service and of the model."""

    status: Literal["healthy", "unhealthy"] = Field(examples=["healthy"])
    model_loaded: bool = Field(examples=[True])
    model_version: str = Field(examples=["1.0.0"])
    uptime_seconds: float = Field(ge=0, examples=[3600.5])
    active_requests: Count = Field(examples=[2])
    drift_detected: bool = Field(examples=[False])
    predictions_total: Count = Field(examples=[1542])
    model: ModelInfo | None = Field(
        default=None, description="What predictions mean, if asked for; null while no model has answered."
    )


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

    def differs_by(self, other: "Verdict") -> float:
        """How far the probabilities are apart, with their 4 decimals."""
        return round(abs(self.probability - other.probability), 4)


class Explanation(Verdict):
    """A prediction with its heat map, a JPEG in base64."""

    heatmap_base64: str = Field(min_length=1)


class AliveBody(_Body):
    """The process is alive; the model was not asked."""

    alive: Literal[True] = Field(examples=[True])


class ReadyBody(_Body):
    """Whether the model server answers a real inference."""

    ready: bool = Field(examples=[True])


class StartedBody(_Body):
    """Whether the model has answered since the start."""

    started: bool = Field(examples=[True])


class IndexBody(_Body):
    """What this service is."""

    name: str = Field(examples=["ai-product-photo-detector"])
    version: str = Field(examples=["1.0.0"])
    links: dict[str, str] = Field(examples=[{"predict": "/predict", "health": "/health"}])


DriftStatus = Literal["monitoring", "collecting", "other_version", "no_reference"]


class DriftSummary(_Body):
    """One statistic of the images that were measured."""

    samples: Count
    mean: float = Field(examples=[96.0])
    std: float = Field(ge=0, examples=[41.0])


class DriftStatistics(_Body):
    """Probabilities and images of one model version: those of the window, or of the reference."""

    model_version: ModelVersion
    samples: Count
    mean: Probability = Field(examples=[0.48])
    std: float = Field(ge=0, description="Standard deviation of the probability.", examples=[0.32])
    low_confidence_ratio: Ratio = Field(examples=[0.27])
    confidence_ratios: dict[Confidence, Ratio] | None = Field(
        description="Null in the reference.", examples=[{"low": 0.27, "medium": 0.2, "high": 0.53}]
    )
    class_ratios: dict[Prediction, Ratio] = Field(examples=[{"real": 0.52, "ai_generated": 0.48}])
    inputs: dict[str, DriftSummary] = Field(examples=[{"brightness": {"samples": 1000, "mean": 96.0, "std": 41.0}}])


class DriftCheck(_Body):
    """One comparison with the reference; without a score while too few values are there."""

    name: str = Field(examples=["brightness_ks"])
    score: float | None = Field(examples=[0.25])
    threshold: float | None = Field(examples=[0.1])
    samples: Count
    alert: bool = Field(examples=[True])


class DriftHistogram(_Body):
    """Shares of the probabilities in bins over 0..1; a bin holds its lower edge, the last one also its upper."""

    edges: list[Probability] = Field(examples=[[0, 0.5, 1]])
    reference: list[Ratio] | None = Field(description="Null where the reference has none.", examples=[[0.55, 0.45]])
    current: list[Ratio] | None = Field(description="Null while the window is empty.", examples=[[0.52, 0.48]])


class DriftBody(_Body):
    """The drift window compared with the reference."""

    status: DriftStatus = Field(examples=["monitoring"])
    reason: str | None = Field(description="Why nothing, or not everything, is compared; else null.")
    window_size: Count
    window_capacity: Count
    min_samples: Count = Field(examples=[200])
    false_alarm_rate: Ratio = Field(
        description="Maximum false alarms per window, all checks together.", examples=[0.01]
    )
    reference_source: Literal["shipped", "own traffic"] | None = Field(
        description="The model's calibration, which never alerts, or the first predictions here; null without either.",
        examples=["own traffic"],
    )
    reference_since: str | None = Field(
        description="When own traffic became the reference, RFC 3339.", examples=["2026-11-28T17:10:00+00:00"]
    )
    reference: DriftStatistics | None
    current: DriftStatistics | None
    checks: list[DriftCheck]
    alerts: list[str] = Field(examples=[["brightness_ks is 0.25, over its threshold of 0.1"]])
    drift_detected: bool = Field(examples=[True])
    drift_score: float = Field(
        ge=0, description="The worst check's score over its threshold; drift above 1.", examples=[2.5]
    )
    histogram: DriftHistogram | None = Field(default=None, description="Both distributions, if asked for.")


class Retention(_Body):
    """One kind of data and how long it is kept."""

    data: str
    kept: str


class PrivacyBody(_Body):
    """How data are handled."""

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
