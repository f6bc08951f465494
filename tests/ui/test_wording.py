import pytest

from gateway.client.answers import Confidence, Prediction
from tests.ui.made import verdict
from ui import wording


@pytest.mark.parametrize(
    ("prediction", "probability", "confidence", "look"),
    [
        ("real", 0.1, "high", "real"),
        ("ai_generated", 0.9, "high", "ai_generated"),
        ("real", 0.43, "low", "undecided"),
        ("ai_generated", 0.79, "medium", "ai_generated"),
    ],
)
def test_what_decides_nothing_takes_no_verdicts_colour(
    prediction: Prediction, probability: float, confidence: Confidence, look: str
) -> None:
    assert wording.look(verdict(prediction, probability, confidence)) == look


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.87, "87.0%"),
        (0.1234, "12.3%"),
        (0.5, "50.0%"),
        (0.999, "99.9%"),
        (0.9999, "over 99.9%"),
        (1.0, "over 99.9%"),
        (0.001, "0.1%"),
        (0.0, "under 0.1%"),
    ],
)
def test_a_probability_is_never_written_as_a_certainty(probability: float, text: str) -> None:
    assert wording.percent(probability) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12.3, "12 seconds"),
        (61, "1 minute"),
        (3599, "59 minutes"),
        (3660, "1 hour 1 minute"),
        (90000, "25 hours 0 minutes"),
    ],
)
def test_a_running_time_is_rough(seconds: float, text: str) -> None:
    assert wording.uptime(seconds) == text
