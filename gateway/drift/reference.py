"""What scores and pictures usually look like: a service's own first ones, or the model's when it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Self, get_args

import numpy as np
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from structlog.typing import FilteringBoundLogger

from gateway.drift.statistics import Floats
from gateway.schemas import InputName

_log: FilteringBoundLogger = structlog.get_logger()

Share = Annotated[float, Field(ge=0, le=1)]

QUANTILES: Final = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Of what is learned, with the least and the greatest value; the file that ships has no such."""
EDGES: Final = tuple(round(number / 10, 1) for number in range(11))
"""Of a histogram, if a reference has none."""


class _Part(BaseModel):
    # The file also says how each number is taken; people read that.
    model_config = ConfigDict(frozen=True, protected_namespaces=(), allow_inf_nan=False)


class Distribution(_Part):
    """One statistic over the reference's pictures; the quantiles are keyed by their probability."""

    mean: float
    std: float = Field(ge=0)
    quantiles: dict[Share, float] = Field(min_length=3)
    n: int | None = Field(default=None, ge=2, description="Pictures, if not all of the reference's.")


class _Ratio(_Part):
    value: Share


class Histogram(_Part):
    """Shares of the scores in bins over 0..1; a bin holds its lower edge, the last one also its upper."""

    edges: tuple[Share, ...] = Field(min_length=2)
    share: tuple[Share, ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.share) != len(self.edges) - 1 or any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("want rising edges and a share for each bin between them")
        return self


class Scores(Distribution):
    """The model's probabilities and what followed from them."""

    ai_generated_ratio: _Ratio
    low_confidence_ratio: _Ratio
    histogram: Histogram | None = None


class Reference(_Part):
    """Statistics of `n` pictures: those that a model version was calibrated on, or the first that it judged here."""

    model_version: str = Field(min_length=1)
    n: int = Field(ge=2)
    scores: Scores
    inputs: dict[InputName, Distribution]
    since: datetime | None = Field(default=None, description="When it was learned; none of the one that shipped.")


def learn(version: str, columns: Mapping[str, Floats], minimum: int) -> Reference:
    """Make a reference of a window's columns; inputs that too few pictures were measured for are left out."""
    scores = columns["probability"]
    counts, _ = np.histogram(scores, bins=EDGES)
    return Reference(
        model_version=version,
        n=scores.size,
        scores=Scores(
            **_summary(scores),
            ai_generated_ratio=_Ratio(value=float(columns["ai_generated"].mean())),
            low_confidence_ratio=_Ratio(value=float(columns["low_confidence"].mean())),
            histogram=Histogram(edges=EDGES, share=tuple((counts / scores.size).tolist())),
        ),
        inputs={
            name: Distribution(**_summary(columns[name]))
            for name in get_args(InputName)
            if name in columns and columns[name].size >= minimum
        },
        since=datetime.now(UTC).replace(microsecond=0),
    )


def _summary(values: Floats) -> dict[str, Any]:
    points = np.quantile(values, QUANTILES)
    quantiles = dict(zip(QUANTILES, points.tolist(), strict=True))
    return {"mean": float(values.mean()), "std": float(values.std()), "quantiles": quantiles, "n": values.size}


def read_reference(path: Path) -> Reference | None:
    """The reference in a file, or None, with a warning in the log, when there is none that can be read."""
    try:
        return Reference.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        _log.warning("no_drift_reference", file=str(path), cause=type(error).__name__)
        return None
