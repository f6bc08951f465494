"""What the archive that ships says of its model."""

from __future__ import annotations

import zipfile
from typing import Any

import yaml

from stack.layout import ROOT
from stack.torchserve import ARCHIVE
from tests.e2e.contract.claims import Like, number, one_of


def _spec() -> dict[str, Any]:
    with zipfile.ZipFile(ROOT / "model_store" / ARCHIVE) as archive:
        return dict(yaml.safe_load(archive.read("model-config.yaml"))["spec"])


SPEC = _spec()
VERSION = str(SPEC["version"])
MODEL = {name: SPEC[name] for name in ("base_rate", "operating_point", "true_positive_rate", "false_positive_rate")}

MILLISECONDS = number(1, low=0.1)
VERDICT = {
    "prediction": one_of("real", "ai_generated"),
    "probability": number(4, high=1.0),
    "confidence": one_of("low", "medium", "high"),
}
PREDICTION: dict[str, object] = {**VERDICT, "inference_time_ms": MILLISECONDS, "model_version": VERSION}


def confidence(probability: float) -> str:
    """The rule as the contract words it, by the distance from 0.5."""
    distance = round(abs(probability - 0.5), 4)
    return "high" if distance > 0.3 else "low" if distance < 0.2 else "medium"


def explanation(heatmap: Like) -> dict[str, object]:
    """The body of an explanation."""
    return {**VERDICT, "heatmap_base64": heatmap, "inference_time_ms": MILLISECONDS, "model_version": VERSION}
