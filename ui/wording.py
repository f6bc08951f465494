"""How the page words predictions; no HTML."""

from collections.abc import Mapping
from typing import ClassVar, Protocol

from gateway import client
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


# ruff: noqa: N818  # the names say what the reviewer meets, as the other packages' errors do


class CheckError(Exception):
    """A check that ended without a verdict."""

    title: ClassVar[str] = "The check failed"
    advice: ClassVar[str] = "Try again in a moment. If it keeps happening, tell the service's operator."
    # What helps when it is not one photo's matter; the page adds which button to press.
    remedy: ClassVar[str] = "If it keeps happening, tell the service's operator."
    # Whether the same photo may be sent again; if not, the page lets go of it at once.
    again: ClassVar[bool] = True

    def __init__(self, detail: str = "", *, retry_after_s: int | None = None, reference: str = "") -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.reference = reference


class ServiceDown(CheckError):
    """Nothing answers at the gateway's address."""

    title = "The service is down"
    advice = (
        "Your photo is still here: press Check photo again in a moment. "
        "If it keeps happening, tell the service's operator."
    )


class ServiceSlow(ServiceDown):
    """The gateway took the photo and gave no answer in time."""

    title = "The service took too long to answer"


class ServiceNotReady(CheckError):
    """503: the model is loading, restarting, or its queue is full."""

    title = "The service is not ready"
    advice = "It may be starting or busy. Your photo is still here: press Check photo again."


class TooManyChecks(CheckError):
    """429: the rate is used up."""

    title = "Too many checks in a short time"
    advice = "Your photo is still here: wait a little, then press Check photo again."


class KeyRefused(CheckError):
    """401 or 403: no API key, or one that the gateway does not know."""

    title = "The service wants an API key"
    advice = "Open API key on this page, enter a valid key, and press Check photo again."
    remedy = "Open API key on this page and enter a valid key."


class PhotoRefused(CheckError):
    """400: not an image that the gateway accepts."""

    title = "This photo cannot be checked"
    advice = "Choose another photo: JPEG, PNG or WebP, complete and not damaged."
    again = False


class PhotoTooLarge(PhotoRefused):
    """413: more bytes than the gateway takes."""

    title = "This photo is too large"
    advice = "Choose a smaller file, or save the photo with fewer pixels and choose it again."


class PhotoGone(PhotoRefused):
    """The upload waited too long, or another check of the same file has already removed it."""

    title = "This photo is no longer here"
    advice = "Photos are removed after a while. Choose the photo again."


class TooManyPhotos(PhotoRefused):
    """More photos at once than the page takes."""

    title = "Too many photos at once"
    advice = "Remove some, or upload them in smaller batches."


class OddAnswer(CheckError):
    """An answer that the contract does not know."""

    title = "Unexpected response from the service"


class ServiceFailed(CheckError):
    """500: a fault inside the service, which another try may not meet."""

    title = "The service failed internally"


# The first kind that fits, so the narrower ones stand before the wider ones.
KINDS: Mapping[type[client.GatewayError], type[CheckError]] = {
    client.ServiceSlowError: ServiceSlow,
    client.ServiceDownError: ServiceDown,
    client.NotReadyError: ServiceNotReady,
    client.TooManyRequestsError: TooManyChecks,
    client.KeyRefusedError: KeyRefused,
    client.PhotoTooLargeError: PhotoTooLarge,
    client.PhotoUnreadableError: PhotoGone,
    client.PhotoRefusedError: PhotoRefused,
    client.ServiceFailedError: ServiceFailed,
}


def in_page_words(error: client.GatewayError) -> CheckError:
    """Word a client's error for reviewers; drop details that only a developer can fix."""
    kind = next((words for theirs, words in KINDS.items() if isinstance(error, theirs)), OddAnswer)
    detail = "" if kind is OddAnswer else error.detail
    return kind(detail, retry_after_s=error.retry_after_s, reference=error.request_id)
