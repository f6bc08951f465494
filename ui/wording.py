"""How the page words predictions, findings and errors; no HTML."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import client

UNDECIDED = "undecided"
# Nearer than this to 0 or 1, a percentage with one decimal would read as a certainty.
SURE = 0.001
TABLES: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
CONFIDENCES, VERDICTS, WARM = (TABLES[name] for name in ("confidences", "verdicts", "warm"))
# Kinds of evidence, the sources that it names, and how much it is worth; a newer gateway may know more.
EVIDENCE, SOURCES, STRENGTHS, DRIFT = (TABLES[name] for name in ("evidence", "sources", "strengths", "drift"))
OPERATOR = "If it keeps happening, tell the service's operator."


def look(found: client.Verdict) -> str:
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


def drift(found: client.Drift) -> tuple[str, str]:
    """Return the title and the advice for a state of drift."""
    if found.drift_detected:
        return (
            "Drift: something has changed",
            "Look at the checks over their threshold, then check a sample of recent photos by eye.",
        )
    title, advice = DRIFT.get(found.status, (found.status, ""))
    return title, advice


class TooManyPhotosError(client.PhotoRefusedError):
    """More photos at once than the page takes."""


@dataclass(frozen=True)
class Words:
    """What the page says of an error; `remedy` is what helps when it is not one photo's matter."""

    title: str
    advice: str = f"Try again in a moment. {OPERATOR}"
    remedy: str = OPERATOR


# Their details only a developer can fix.
UNTOLD = (client.OddAnswerError, client.RequestRefusedError, client.PhotoUnreadableError)


def words(error: client.GatewayError) -> Words:
    """Return what the page says of the error."""
    known = TABLES["errors"]
    return next(Words(**known[kind.__name__]) for kind in type(error).__mro__ if kind.__name__ in known)


def detail(error: client.GatewayError) -> str:
    """Return what the service said of the error, where that helps a reviewer."""
    return "" if isinstance(error, UNTOLD) else error.detail


def sentence(error: client.GatewayError) -> str:
    """Say what has happened, with what the service said of it."""
    return ": ".join(filter(None, (words(error).title, detail(error)))).removesuffix(".") + "."


def may_come(error: client.GatewayError) -> bool:
    """Whether the same photo may be sent again; if not, the page lets go of it at once."""
    return not isinstance(error, client.PhotoRefusedError)
