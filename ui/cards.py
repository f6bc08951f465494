"""A verdict or an error as a card of HTML; everything that comes from outside is escaped."""

import base64
from collections.abc import Sequence
from html import escape

from gateway.client import Evidence, Explanation, GatewayError, Prediction
from ui import wording

NAMES = {
    "c2pa_manifest": "Content Credentials (C2PA)",
    "c2pa_source_type": "Kind of source, by its Content Credentials",
    "c2pa_generator": "Tool, by its Content Credentials",
    "c2pa_ingredient": "One of the pictures that it was made from, by its Content Credentials",
    "iptc_source_type": "Kind of source, by its IPTC metadata",
    "iptc_ai_field": "AI fields of its IPTC metadata",
    "aigc_label": "Label that Chinese law requires",
    "generator_parameters": "Settings of an image generator",
    "generator_software": "Software that wrote the file",
    "incomplete": "Not everything was read",
}
SOURCES = {
    "trainedAlgorithmicMedia": "made by a trained model (AI)",
    "compositeSynthetic": "put together with parts made by a computer",
    "compositeWithTrainedAlgorithmicMedia": "partly made by a trained model (AI)",
    "algorithmicMedia": "made by an algorithm",
    "digitalCapture": "taken with a digital camera",
    "computationalCapture": "taken with a digital camera",
}
STRENGTHS = {
    "strong": "strong: signed by a signer that this service trusts",
    "medium": "medium: a full statement that nobody vouches for",
    "weak": "weak: a hint that anybody can type",
}
NOTHING = "The file says nothing about where it came from. That proves nothing: most apps remove such data."
APART = "Anybody can write or remove such data. It does not affect the probability."
HINT = "The verdict is a hint, not proof: weigh it with what else you know about the listing."
WARM: dict[Prediction, str] = {
    "ai_generated": "The warm areas of the heat map are the regions that speak most for AI generation.",
    "real": "The warm areas of the heat map are the regions that speak most for a real photograph.",
}
EMPTY = "The heat map is empty: no region of the photo speaks for this verdict."
WELCOME = (
    '<div class="card quiet"><h2>No photo checked yet</h2>'
    "<p>Choose a product photo and press <strong>Check photo</strong>. "
    "You will see how likely it is AI-generated, and which regions of the photo drove the verdict.</p></div>"
)


def evidence_html(found: Sequence[Evidence]) -> str:
    """List the findings with their strength, or explain that there are none."""
    if not found:
        return f'<section class="evidence"><h3>What the file says</h3><p>{NOTHING}</p></section>'
    items = "".join(map(_item, found))
    return (
        f'<section class="evidence"><h3>What the file says</h3><ul>{items}</ul><p class="facts">{APART}</p></section>'
    )


def _item(found: Evidence) -> str:
    # A gateway that is newer than this page may know more kinds than we do.
    name = NAMES.get(found.type, found.type)
    value = SOURCES.get(found.value, found.value)
    if found.type == "incomplete":  # no statement of the file's, so nothing that could be forged
        return f"<li><strong>{escape(name)}:</strong> {escape(value)}</li>"
    return (
        f"<li><strong>{escape(name)}:</strong> {escape(value)} "
        f'<span class="strength">({escape(STRENGTHS.get(found.strength, found.strength))})</span></li>'
    )


def answer_html(answer: Explanation, photo: bytes | None) -> str:
    """Show a verdict; `photo` is a JPEG of the original, None where it cannot be drawn."""
    regions = EMPTY if answer.heatmap_is_empty else WARM[answer.prediction]
    time = answer.inference_time_ms
    took = "" if time is None else f" · answered in {wording.duration(time)}"
    return (
        f'<div class="card {wording.look(answer)}">{_verdict(answer)}{_images(answer.heatmap, photo)}'
        f'<p class="note">{regions} {HINT}</p>{evidence_html(answer.evidence or ())}'
        f'<p class="facts">Model version {escape(answer.model_version)}{took}</p></div>'
    )


def error_html(error: GatewayError, advice: str = "") -> str:
    """Show what went wrong, what the service said about it, and what to do next."""
    said, words = wording.detail(error), wording.words(error)
    wait = "" if error.retry_after_s is None else f" The service asks to wait {wording.seconds(error.retry_after_s)}."
    reference = f'<p class="facts">Reference {escape(error.request_id)}</p>' if error.request_id else ""
    return (
        f'<div class="card trouble"><h2>{words.title}</h2>{f"<p>{escape(said)}</p>" if said else ""}'
        f"<p>{(advice or words.advice) + wait}</p>{reference}</div>"
    )


def _verdict(answer: Explanation) -> str:
    name, meaning = wording.CONFIDENCES[answer.confidence]
    share = round(answer.probability * 100, 1)
    percent = wording.percent(answer.probability)
    return (
        f"<h2>{wording.verdict(answer)}</h2>"
        f'<p class="score"><span>Probability of AI generation</span> <strong>{percent}</strong></p>'
        f'<div class="bar" role="meter" aria-label="Probability of AI generation" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{share}"><span style="width:{share}%"></span></div>'
        '<p class="scale" aria-hidden="true"><span>real photograph</span><span>AI-generated</span></p>'
        f'<p class="confidence"><strong>{name}</strong> {meaning}</p>'
    )


def _images(heatmap: bytes, photo: bytes | None) -> str:
    over = _image("heatmap", heatmap, "The photo with the heat map over it")
    if photo is None:
        return f'<figure class="fade">{over}<figcaption>Heat map</figcaption></figure>'
    return (
        f'<figure class="fade"><div class="layers">{_image("photo", photo, "Your photo")}{over}</div>'
        '<figcaption><label for="fade">Heat map over your photo</label>'
        '<input type="range" id="fade" min="0" max="100" step="5" value="100" aria-valuetext="100 percent">'
        '<span class="ends" aria-hidden="true"><span>photo</span><span>heat map</span></span></figcaption></figure>'
    )


def _image(name: str, jpeg: bytes, description: str) -> str:
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<img class="{name}" alt="{description}" src="data:image/jpeg;base64,{data}">'
