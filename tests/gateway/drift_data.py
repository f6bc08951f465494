"""References, samples and populations for the drift tests."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from gateway.drift.reference import Floats, Reference
from gateway.drift.store import Sample
from gateway.schemas import InputName

QUANTILES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
HALF = 0.5
Columns = dict[str, Floats]


def population(random: np.random.Generator, size: int) -> Columns:
    """Scores and pictures of a shop: undecided scores are rare, and some picture sizes are common."""
    width = random.choice([321.0, 481.0, 512.0, 600.0, 896.0], size, p=[0.07, 0.15, 0.1, 0.1, 0.58])
    height = np.where(random.random(size) < 0.5, width, random.choice([321.0, 481.0, 896.0], size))
    return {
        "probability": random.beta(0.6, 0.8, size).round(4),
        "width": width,
        "height": height,
        "megapixels": width * height / 1e6,
        "bytes_per_pixel": random.lognormal(-1.7, 0.5, size),
        "brightness": random.normal(126, 40, size).clip(0, 255),
        "sharpness": random.lognormal(7, 0.8, size),
    }


def reference_of(columns: Columns, version: str = "1.0.0") -> Reference:
    """What training's stage `reference` would write."""
    return Reference.model_validate(reference_fields(columns, version))


def reference_fields(columns: Columns, version: str = "1.0.0") -> dict[str, Any]:
    scores = columns["probability"]
    ratios = {
        "ai_generated_ratio": {"value": float((scores >= HALF).mean())},
        "low_confidence_ratio": {"value": float(((scores > 0.3) & (scores < 0.7)).mean())},
    }
    return {
        "model_version": version,
        "n": scores.size,
        "scores": _summary(scores) | ratios,
        "inputs": {name: _summary(columns[name]) for name in get_args(InputName)},
    }


def columns_of_population(columns: Columns) -> Columns:
    """The window's columns, without the detour over samples."""
    scores = columns["probability"]
    verdicts = {"ai_generated": scores >= HALF, "low_confidence": (scores > 0.3) & (scores < 0.7)}
    return columns | {name: found.astype(float) for name, found in verdicts.items()}


def samples_of(columns: Columns, version: str = "1.0.0") -> list[Sample]:
    names = get_args(InputName)
    inputs = np.stack([columns[name] for name in names], axis=1).tolist()
    return [
        sample(probability, version, **dict(zip(names, row, strict=True)))
        for probability, row in zip(columns["probability"].tolist(), inputs, strict=True)
    ]


def sample(probability: float, version: str = "1.0.0", **inputs: float) -> Sample:
    distance = abs(probability - 0.5)
    return Sample(
        model_version=version,
        prediction="ai_generated" if probability >= HALF else "real",
        probability=probability,
        confidence="high" if distance > 0.3 else "low" if distance < 0.2 else "medium",
        inputs=inputs,  # type: ignore[arg-type]
    )


def _summary(values: Floats) -> dict[str, Any]:
    points = np.quantile(values, QUANTILES)
    return {
        "mean": round(float(values.mean()), 6),
        "std": round(float(values.std()), 6),
        "quantiles": {str(share): round(float(point), 6) for share, point in zip(QUANTILES, points, strict=True)},
    }
