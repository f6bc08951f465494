"""Verdicts and rows to show."""

import base64

from gateway.client import Evidence, Explanation, Verdict
from gateway.client.answers import Confidence, Prediction
from ui.views import Row

JPEG = b"\xff\xd8 heat map"


def verdict(prediction: Prediction = "real", probability: float = 0.12, confidence: Confidence = "high") -> Verdict:
    return Verdict(
        prediction=prediction,
        probability=probability,
        confidence=confidence,
        inference_time_ms=45.2,
        model_version="1.0.0",
    )


def explanation() -> Explanation:
    shown = {"heatmap_base64": base64.b64encode(JPEG).decode(), "evidence": ()}
    return Explanation(**verdict().model_dump() | shown)


def evidence(kind: str, value: str) -> Evidence:
    return Evidence(type=kind, value=value, strength="weak")


def rows() -> list[Row]:
    """One of each kind."""
    return [
        Row(1, "shoe.jpg", JPEG, verdict("real", 0.04)),
        Row(2, "lamp.png", JPEG, verdict("ai_generated", 0.9312)),
        Row(3, "mug.webp", None, verdict("real", 0.42, "low")),
        Row(4, "=notes.txt", None, None, "Supported formats: JPEG, PNG, WebP.", again=False),
        Row(5, "chair.jpg", None, None, "The service is down.", again=True),
    ]
