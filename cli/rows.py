"""The result for one image, the same in every output format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cli.exits import Exit
from gateway.client import Confidence, Evidence, Explanation, Failure, KeyRefusedError, Outcome, Prediction, Verdict


@dataclass(frozen=True)
class Row:
    """A photo's line; the fields are CSV's columns and JSON's names, in their order."""

    photo: str
    prediction: Prediction | None = None
    probability: float | None = None
    confidence: Confidence | None = None
    inference_time_ms: float | None = None
    model_version: str | None = None
    heatmap: str | None = None
    evidence: Sequence[Evidence] | None = None
    code: str | None = None
    error: str | None = None


def row_of(name: str, outcome: Outcome, heatmap: str | None) -> Row:
    """Put a verdict or a failure into a line."""
    if isinstance(outcome, Failure):
        error = outcome.error
        return Row(name, code=error.code, error=error.detail or error.title)
    return Row(
        name,
        outcome.prediction,
        outcome.probability,
        outcome.confidence,
        outcome.inference_time_ms,
        outcome.model_version,
        heatmap,
        outcome.evidence,
    )


class Tally:
    """Counts outcomes and derives the command's exit code."""

    def __init__(self, fail_on: str | None) -> None:
        self._fail_on = fail_on
        self._predictions: list[str] = []
        self._empty = 0
        self._failures: list[Failure] = []

    def add(self, outcome: Outcome) -> None:
        """Count a photo."""
        if isinstance(outcome, Verdict):
            self._predictions.append(outcome.prediction)
            self._empty += isinstance(outcome, Explanation) and outcome.heatmap_is_empty
        else:
            self._failures.append(outcome)

    @property
    def count(self) -> int:
        """Photos so far."""
        return len(self._predictions) + len(self._failures)

    @property
    def advice(self) -> str:
        """What to do about the first failure that is not the photo's own."""
        return next((str(one.error) for one in self._failures if _is_service(one)), "")

    def summary(self) -> str:
        """Summarise the counts."""
        generated = self._predictions.count("ai_generated")
        photos = "1 photo" if self.count == 1 else f"{self.count} photos"
        told = f"{photos}: {generated} ai_generated, {self._predictions.count('real')} real"
        told += f", {len(self._failures)} without a prediction" if self._failures else ""
        empty = "1 heat map is" if self._empty == 1 else f"{self._empty} heat maps are"
        return f"{told}; {empty} empty: no region supports the prediction" if self._empty else told

    def exit(self) -> Exit:
        """The most severe outcome wins, but a match of --fail-on outweighs an image without a prediction."""
        if any(isinstance(one.error, KeyRefusedError) for one in self._failures):
            return Exit.KEY_REFUSED
        if any(one.error.again for one in self._failures):
            return Exit.UNREACHABLE
        if self._fail_on in self._predictions:
            return Exit.FOUND
        return Exit.UNJUDGED if self._failures else Exit.DONE


def _is_service(failure: Failure) -> bool:
    return failure.error.again or isinstance(failure.error, KeyRefusedError)
