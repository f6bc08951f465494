"""The gateway's answer, read strictly: a field that is not as documented is an error and never a guess."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

Prediction = Literal["ai_generated", "real"]
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The gateway's answer to `POST /predict/explain`; `heatmap` is a JPEG."""

    prediction: Prediction
    probability: float
    confidence: Confidence
    heatmap: bytes
    inference_time_ms: float
    model_version: str

    @classmethod
    def from_json(cls, body: object) -> "Answer":
        """Read the documented fields; ValueError when one is missing or not what is documented."""
        if not isinstance(body, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004  # one error for every odd body
        return cls(
            prediction=cast("Prediction", _one_of(body, "prediction", get_args(Prediction))),
            probability=_number(body, "probability", 1.0),
            confidence=cast("Confidence", _one_of(body, "confidence", get_args(Confidence))),
            heatmap=_jpeg(body, "heatmap_base64"),
            inference_time_ms=_number(body, "inference_time_ms", float("inf")),
            model_version=_text(body, "model_version"),
        )


def _one_of(body: Mapping[str, object], name: str, known: tuple[str, ...]) -> str:
    value = _text(body, name)
    if value not in known:
        raise ValueError(f"{name} is none of {known}")
    return value


def _text(body: Mapping[str, object], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is no text")
    return value


def _number(body: Mapping[str, object], name: str, most: float) -> float:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"{name} is no number from 0 to {most}")
    return float(value)


def _jpeg(body: Mapping[str, object], name: str) -> bytes:
    try:
        data = base64.b64decode(_text(body, name), validate=True)
    except binascii.Error as error:
        raise ValueError(f"{name} is no base64") from error
    if not data.startswith(b"\xff\xd8"):
        raise ValueError(f"{name} is no JPEG")
    return data
