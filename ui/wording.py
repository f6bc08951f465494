"""How the page words predictions, findings and errors; no HTML."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import client
from gateway.client import Confidence, Drift, GatewayError, PhotoRefusedError, Prediction, Verdict

UNDECIDED = "undecided"
CONFIDENCES: dict[Confidence, tuple[str, str]] = {
    "high": ("High confidence", "The score lies close to one end of the scale."),
    "medium": ("Medium confidence", "The score leans one way, but not strongly. Look closely before you act on it."),
    "low": ("Low confidence: treat as undecided", "The score lies near the middle, so it decides nothing."),
}
VERDICTS: dict[Prediction, str] = {"ai_generated": "Likely AI-generated", "real": "Likely a real photograph"}
# Nearer than this to 0 or 1, a percentage with one decimal would read as a certainty.
SURE = 0.001
# What the warm areas of a heat map speak for.
WARM: dict[Prediction, str] = {"ai_generated": "AI generation", "real": "a real photograph"}
WORDS_OF: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
# Kinds of evidence, the sources that it names, and how much it is worth; a newer gateway may know more.
EVIDENCE, SOURCES, STRENGTHS, DRIFT = (WORDS_OF[name] for name in ("evidence", "sources", "strengths", "drift"))
OPERATOR = "If it keeps happening, tell the service's operator."


def look(found: Verdict) -> str:
    """Return the style of a prediction; an undecided one is neutral."""
    return UNDECIDED if found.confidence == "low" else found.prediction


def percent(probability: float) -> str:
    """Write a probability with one decimal, and never as a certainty that no model has."""
    if probability > 1 - SURE:
        return f"over {1 - SURE:.1%}"
    if probability < SURE:
        return f"under {SURE:.1%}"
    return f"{probability:.1%}"


def seconds(count: float) -> str:
    """Write a number of seconds as words."""
    return "1 second" if round(count) == 1 else f"{count:.0f} seconds"


def uptime(count: float) -> str:
    """Write for how many seconds something has been running."""
    hours, minutes = divmod(int(count) // 60, 60)
    return f"{photos(hours, 'hour')} {photos(minutes, 'minute')}"


def photos(count: int, thing: str = "photo") -> str:
    """Write a number of things."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def drift(found: Drift) -> tuple[str, str]:
    """Return the title and the advice for a state of drift."""
    if found.drift_detected:
        return (
            "Drift: something has changed",
            "Look at the checks over their threshold, then check a sample of recent photos by eye.",
        )
    title, advice = DRIFT.get(found.status, (found.status, ""))
    return title, advice


class TooManyPhotosError(PhotoRefusedError):
    """More photos at once than the page takes."""


@dataclass(frozen=True)
class Words:
    """What the page says of an error; `remedy` is what helps when it is not one photo's matter."""

    title: str
    advice: str = f"Try again in a moment. {OPERATOR}"
    remedy: str = OPERATOR


KEPT = "Your photo is still here:"
WORDS: Mapping[type[GatewayError], Words] = {
    GatewayError: Words("Unexpected response from the service"),
    client.ServiceDownError: Words("The service is down", f"{KEPT} press Check photo again in a moment. {OPERATOR}"),
    client.ServiceSlowError: Words(
        "The service took too long to answer", f"{KEPT} press Check photo again in a moment. {OPERATOR}"
    ),
    client.NotReadyError: Words(
        "The service is not ready", f"It may be starting or busy. {KEPT} press Check photo again."
    ),
    client.TooManyRequestsError: Words(
        "Too many checks in a short time", f"{KEPT} wait a little, then press Check photo again."
    ),
    client.KeyRefusedError: Words(
        "The service wants an API key",
        "Open API key on this page, enter a valid key, and press Check photo again.",
        "Open API key on this page and enter a valid key.",
    ),
    PhotoRefusedError: Words(
        "This photo cannot be checked", "Choose another photo: JPEG, PNG or WebP, complete and not damaged."
    ),
    client.PhotoTooLargeError: Words(
        "This photo is too large", "Choose a smaller file, or save the photo with fewer pixels and choose it again."
    ),
    client.PhotoUnreadableError: Words(
        "This photo is no longer here", "Photos are removed after a while. Choose the photo again."
    ),
    TooManyPhotosError: Words("Too many photos at once", "Remove some, or upload them in smaller batches."),
    client.ServiceFailedError: Words("The service failed internally"),
}
"""Of each kind of error; one that is not here has the words of the kind that it derives from."""
# Their details only a developer can fix.
UNTOLD = (client.OddAnswerError, client.RequestRefusedError, client.PhotoUnreadableError)


def words(error: GatewayError) -> Words:
    """Return what the page says of the error."""
    return next(WORDS[kind] for kind in type(error).__mro__ if kind in WORDS)


def detail(error: GatewayError) -> str:
    """Return what the service said of the error, where that helps a reviewer."""
    return "" if isinstance(error, UNTOLD) else error.detail


def sentence(error: GatewayError) -> str:
    """Say what has happened, with what the service said of it."""
    return ": ".join(filter(None, (words(error).title, detail(error)))).removesuffix(".") + "."


def may_come(error: GatewayError) -> bool:
    """Whether the same photo may be sent again; if not, the page lets go of it at once."""
    return not isinstance(error, PhotoRefusedError)
