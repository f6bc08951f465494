"""From a logit to a verdict: the one rule for label and confidence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from handler.spec import ModelSpec

Confidence = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class Verdict:
    """A label, the calibrated probability of the positive class (4 decimals), and how far it is from undecided."""

    prediction: str
    probability: float
    confidence: Confidence


def decide(logit: float, spec: ModelSpec) -> Verdict:
    """Calibrate a logit and judge it; label and confidence follow from the rounded probability that clients see."""
    probability = round(_sigmoid((logit - spec.offset) / spec.temperature), 4)
    label = spec.labels[probability >= spec.threshold]
    return Verdict(label, probability, confidence(probability))


def confidence(probability: float) -> Confidence:
    """Return high above 0.8 or below 0.2, low between 0.3 and 0.7, else medium (bounds are medium)."""
    if probability > 0.8 or probability < 0.2:  # noqa: PLR2004 - the documented rule
        return "high"
    return "low" if 0.3 < probability < 0.7 else "medium"  # noqa: PLR2004 - the documented rule


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
