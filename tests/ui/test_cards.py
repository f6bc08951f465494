import base64

import pytest

from gateway.client import PhotoRefusedError, Prediction, TooManyRequestsError
from gateway.client.answers import EMPTY_HEATMAP
from tests.ui.made import JPEG, evidence, explanation
from ui import cards
from ui.cards import evidence_html


def test_low_confidence_is_to_be_treated_as_undecided() -> None:
    html = cards.answer_html(explanation("real", 0.43, "low"), JPEG)
    assert "Low confidence: treat as undecided" in html
    assert 'class="card undecided"' in html


@pytest.mark.parametrize(
    ("prediction", "words"), [("ai_generated", "speak most for AI generation"), ("real", "speak most for a real photo")]
)
def test_the_card_says_what_the_heat_map_speaks_for(prediction: Prediction, words: str) -> None:
    assert words in cards.answer_html(explanation(prediction), JPEG)


def test_an_empty_heat_map_is_said_to_be_empty() -> None:
    empty = base64.b64encode(JPEG + EMPTY_HEATMAP).decode()
    html = cards.answer_html(explanation(heatmap_base64=empty), JPEG)
    assert cards.EMPTY in html
    assert "warm areas" not in html


def test_evidence_is_in_words_with_its_strength() -> None:
    html = evidence_html([evidence("iptc_source_type", "digitalCapture"), evidence("new_kind", "new value")])
    assert "<strong>Kind of source, by its IPTC metadata:</strong> taken with a digital camera" in html
    assert "<strong>new_kind:</strong> new value" in html
    assert html.count("weak: a hint that anybody can type") == 2
    assert "does not affect the probability" in html


def test_what_was_left_out_is_said_without_a_strength() -> None:
    html = evidence_html([evidence("incomplete", "left out: no time to read the metadata")])
    assert "<strong>Not everything was read:</strong> left out: no time to read the metadata</li>" in html
    assert "strength" not in html


def test_what_the_gateway_writes_is_never_html() -> None:
    found = (evidence("<b>", "<i>"),)
    html = cards.answer_html(explanation(model_version="<script>1</script>", evidence=found), None)
    assert not any(tag in html for tag in ("<script", "<b>", "<i>"))
    refused = cards.error_html(PhotoRefusedError("<img src=x onerror=alert(1)>", request_id='"><b>'))
    assert not any(tag in refused for tag in ("<img", "<b>"))


def test_an_error_says_what_happened_what_the_service_said_and_what_to_do() -> None:
    html = cards.error_html(TooManyRequestsError("Limit: 10 a minute.", retry_after_s=17, request_id="abc"))
    for words in ("Too many checks in a short time", "Limit: 10 a minute.", "wait 17 seconds", "Reference abc"):
        assert words in html
