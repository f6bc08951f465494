"""What the live model's scores and pictures looked like when it was trained: the file that ships with it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from structlog.typing import FilteringBoundLogger

from gateway.drift.input_statistics import InputName

_log: FilteringBoundLogger = structlog.get_logger()

Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    # The file also says how each number is taken; people read that.
    model_config = ConfigDict(frozen=True, protected_namespaces=(), allow_inf_nan=False)


class Distribution(_Part):
    """One statistic over the reference's pictures; the quantiles are keyed by their probability."""

    mean: float
    std: float = Field(ge=0)
    quantiles: dict[Share, float] = Field(min_length=3)


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
    """Statistics of `n` pictures that one version of the model was calibrated on."""

    model_version: str = Field(min_length=1)
    n: int = Field(ge=2)
    scores: Scores
    inputs: dict[InputName, Distribution]


def read_reference(path: Path) -> Reference | None:
    """The reference in a file, or None, with a warning in the log, when there is none that can be read."""
    try:
        return Reference.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        _log.warning("no_drift_reference", file=str(path), cause=type(error).__name__)
        return None
