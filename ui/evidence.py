"""What a photo's file says about its origin, as HTML."""

from collections.abc import Sequence
from html import escape

from gateway.client import Evidence

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
