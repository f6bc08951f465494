"""How the page words predictions; no HTML."""

from typing import Protocol

from gateway.client.answers import Confidence, Prediction

UNDECIDED = "undecided"
CONFIDENCES: dict[Confidence, tuple[str, str]] = {
    "high": ("High confidence", "The score lies close to one end of the scale."),
    "medium": ("Medium confidence", "The score leans one way, but not strongly. Look closely before you act on it."),
    "low": ("Low confidence: treat as undecided", "The score lies near the middle, so it decides nothing."),
}
VERDICTS: dict[Prediction, str] = {"ai_generated": "Likely AI-generated", "real": "Likely a real photograph"}
# Nearer than this to 0 or 1, a percentage with one decimal would read as a certainty.
SURE = 0.001
MS_IN_S = 1000
S_IN_MIN = 60
MIN_IN_H = 60


class Judged(Protocol):
    """Anything with a verdict: a single photo's answer or a batch's row."""

    @property
    def prediction(self) -> Prediction:
        """The model's verdict."""

    @property
    def probability(self) -> float:
        """The probability of AI generation."""

    @property
    def confidence(self) -> Confidence:
        """How far the probability is from the middle."""


def verdict(judged: Judged) -> str:
    """Word the prediction plainly."""
    return VERDICTS[judged.prediction]


def look(judged: Judged) -> str:
    """Return the style of a prediction; an undecided one is neutral."""
    return UNDECIDED if judged.confidence == "low" else judged.prediction


def percent(probability: float) -> str:
    """Write a probability with one decimal, and never as a certainty that no model has."""
    if probability > 1 - SURE:
        return f"over {1 - SURE:.1%}"
    if probability < SURE:
        return f"under {SURE:.1%}"
    return f"{probability:.1%}"


def duration(milliseconds: float) -> str:
    """Write a time the way people read it."""
    return f"{milliseconds:.0f} ms" if milliseconds < MS_IN_S else f"{milliseconds / MS_IN_S:.1f} s"


def seconds(count: float) -> str:
    """Write a number of seconds as words."""
    return "1 second" if round(count) == 1 else f"{count:.0f} seconds"


def uptime(count: float) -> str:
    """Write how long something has been running, as roughly as people say it."""
    if count < S_IN_MIN:
        return seconds(count)
    minutes = int(count) // S_IN_MIN
    if minutes < MIN_IN_H:
        return photos(minutes, "minute")
    hours, rest = divmod(minutes, MIN_IN_H)
    return f"{photos(hours, 'hour')} {photos(rest, 'minute')}"


def photos(count: int, thing: str = "photo") -> str:
    """Write a number of things."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
