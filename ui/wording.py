"""Answers and errors as words and HTML; everything that comes from outside is escaped."""

import base64
from html import escape

from ui.answer import Answer, Confidence, Prediction
from ui.errors import CheckError

VERDICTS: dict[Prediction, str] = {
    "ai_generated": "Likely AI-generated",
    "real": "Likely a real photograph",
}
CONFIDENCES: dict[Confidence, tuple[str, str]] = {
    "high": ("High confidence", "The score lies close to one end of the scale."),
    "medium": ("Medium confidence", "The score leans one way, but not strongly. Look closely before you act on it."),
    "low": ("Low confidence: treat as undecided", "The score lies near the middle, so it decides nothing."),
}
# Nearer than this to 0 or 1, a percentage with one decimal would read as a certainty.
SURE = 0.001
MS_IN_S = 1000
NOTE = (
    "The warm areas of the heat map are the regions that pushed the score the most. "
    "The verdict is a hint, not proof: weigh it with what else you know about the listing."
)
WELCOME = (
    '<div class="card quiet"><h2>No photo checked yet</h2>'
    "<p>Choose a product photo and press <strong>Check photo</strong>. "
    "You will see how likely it is AI-generated, and which regions of the photo drove the verdict.</p></div>"
)


def verdict(answer: Answer) -> str:
    """Say the verdict in plain words."""
    return VERDICTS[answer.prediction]


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


def answer_html(answer: Answer, photo: bytes | None) -> str:
    """Show a verdict; `photo` is a JPEG of the original, None where it cannot be drawn."""
    look = "undecided" if answer.confidence == "low" else answer.prediction
    return (
        f'<div class="card {look}">{_verdict_html(answer)}{_pictures_html(answer, photo)}'
        f'<p class="note">{escape(NOTE)}</p>'
        f'<p class="facts">Model version {escape(answer.model_version)}'
        f" · answered in {duration(answer.inference_time_ms)}</p></div>"
    )


def error_html(error: CheckError) -> str:
    """Show what went wrong, what the service said about it, and what to do next."""
    detail = f"<p>{escape(error.detail)}</p>" if error.detail else ""
    wait = "" if error.retry_after_s is None else f" The service asks to wait {seconds(error.retry_after_s)}."
    reference = f'<p class="facts">Reference {escape(error.reference)}</p>' if error.reference else ""
    return (
        f'<div class="card trouble"><h2>{escape(error.title)}</h2>{detail}'
        f"<p>{escape(error.advice + wait)}</p>{reference}</div>"
    )


def seconds(count: int) -> str:
    """Write a number of seconds as words."""
    return "1 second" if count == 1 else f"{count} seconds"


def _verdict_html(answer: Answer) -> str:
    name, meaning = CONFIDENCES[answer.confidence]
    share = round(answer.probability * 100, 1)
    return (
        f"<h2>{escape(verdict(answer))}</h2>"
        f'<p class="score"><span>Probability of AI generation</span> <strong>{percent(answer.probability)}</strong></p>'
        f'<div class="bar" role="meter" aria-label="Probability of AI generation" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{share}"><span style="width:{share}%"></span></div>'
        '<p class="scale" aria-hidden="true"><span>real photograph</span><span>AI-generated</span></p>'
        f'<p class="confidence"><strong>{escape(name)}</strong> {escape(meaning)}</p>'
    )


def _pictures_html(answer: Answer, photo: bytes | None) -> str:
    original = "" if photo is None else _figure("photo", photo, "Your photo", "The photo that was checked")
    heatmap = _figure("heatmap", answer.heatmap, "Heat map", "The same photo with the heat map over it")
    return f'<div class="pictures">{original}{heatmap}</div>'


def _figure(name: str, jpeg: bytes, caption: str, description: str) -> str:
    data = base64.b64encode(jpeg).decode("ascii")
    return (
        f'<figure class="{name}"><img alt="{description}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
