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
