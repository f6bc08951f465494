"""The gateway's answers as frozen models: the documented fields, and no others."""

import base64
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gateway import schemas
from gateway.client.errors import GatewayError, item_error
from gateway.schemas import Confidence, Prediction, Strength

JPEG_START = b"\xff\xd8"
EMPTY_HEATMAP = b"no region speaks for this verdict"
"""The comment of such a heat map's JPEG."""
T = TypeVar("T", bound=BaseModel)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())

    __str__ = BaseModel.__repr__


class Evidence(_Answer):
    """One thing that the image's file says about its origin; it is no part of the probability."""

    type: str  # not the schema's: a newer gateway may know more
    value: str
    strength: Strength


class Verdict(_Answer):
    """What the model says of one image; `evidence` is None unless it was asked for."""

    prediction: Prediction
    probability: float = Field(ge=0, le=1)
    confidence: Confidence
    inference_time_ms: float | None = Field(ge=0)
    """Wall time of the model server's answer; None in a batch, which is timed as a whole."""
    model_version: str = Field(min_length=1)
    """The version that answered; in a batch the one that answered last."""
    evidence: tuple[Evidence, ...] | None = None


class Explanation(Verdict):
    """A verdict with the regions that drove it."""

    heatmap_base64: str = Field(repr=False)

    @field_validator("heatmap_base64")
    @classmethod
    def _is_jpeg(cls, value: str) -> str:
        if not base64.b64decode(value, validate=True).startswith(JPEG_START):
            raise ValueError("not a JPEG")
        return value

    @property
    def heatmap(self) -> bytes:
        """A JPEG: the image, upright, with the heat map over it."""
        return base64.b64decode(self.heatmap_base64)

    @property
    def heatmap_is_empty(self) -> bool:
        """Whether no region speaks for the prediction, so that the heat map is the image with these words."""
        return EMPTY_HEATMAP in self.heatmap


@dataclass(frozen=True, slots=True)
class Failure:
    """An image without a prediction, and why."""

    error: GatewayError


Outcome = Verdict | Failure
About = schemas.IndexBody
Comparison = schemas.ComparisonBody
Health = schemas.HealthBody
Drift = schemas.DriftBody


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchResult:
    """One outcome per image, in the images' order."""

    results: tuple[Outcome, ...]
    total: int
    successful: int
    failed: int
    total_inference_time_ms: float
    model_version: str | None


def read(kind: type[T], content: bytes) -> T:
    """Build an answer from JSON; fields that it does not declare are ignored.

    Raises:
        ValueError: A field is missing or not of its type; the text names the field and quotes nothing.
    """
    try:
        return kind.model_validate_json(content, strict=True, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if not first["loc"]:
        raise ValueError("not a documented JSON object")
    raise ValueError(f"{first['loc'][0]} is {'missing' if first['type'] == 'missing' else 'not as documented'}")


def read_batch(content: bytes, sent: int) -> BatchResult:
    """Build a batch's answer from JSON.

    Raises:
        ValueError: As `read`, or there is not one result per image.
    """
    body = read(schemas.BatchBody, content)
    if len(body.results) != sent:
        raise ValueError("results does not have one entry per image")
    results = tuple(_outcome(item, body.model_version) for item in body.results)
    return BatchResult(results=results, **body.model_dump(exclude={"results"}))


def _outcome(item: schemas.BatchItem, model_version: str | None) -> Outcome:
    if item.error is not None:
        return Failure(item_error(item.error))
    return Verdict.model_validate(
        {**item.model_dump(exclude={"filename", "error"}), "inference_time_ms": None, "model_version": model_version}
    )
