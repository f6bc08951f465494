"""What the archive that ships says of its model, and so what answers hold."""

from __future__ import annotations

import zipfile
from typing import Any

import yaml

from deploy.layout import ROOT
from deploy.torchserve.process import ARCHIVE
from tests.e2e.contract.claims import Like, number


def _spec() -> dict[str, Any]:
    with zipfile.ZipFile(ROOT / "model_store" / ARCHIVE) as archive:
        return dict(yaml.safe_load(archive.read("model-config.yaml"))["spec"])


SPEC = _spec()
VERSION = str(SPEC["version"])
MODEL = {name: SPEC[name] for name in ("base_rate", "operating_point", "true_positive_rate", "false_positive_rate")}

MILLISECONDS = number(1, low=0.1)
VERDICT = {
    "prediction": Like("a class", {"real", "ai_generated"}.__contains__),
    "probability": number(4, high=1.0),
    "confidence": Like("a confidence", {"low", "medium", "high"}.__contains__),
}
PREDICTION: dict[str, object] = {**VERDICT, "inference_time_ms": MILLISECONDS, "model_version": VERSION}


def confidence(probability: float) -> str:
    """The rule as the contract words it, by the distance from 0.5."""
    distance = round(abs(probability - 0.5), 4)
    return "high" if distance > 0.3 else "low" if distance < 0.2 else "medium"
