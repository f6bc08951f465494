import pytest

from gateway.client.answers import Confidence, Prediction
from tests.ui.made import verdict
from ui import wording


@pytest.mark.parametrize(
    ("prediction", "words"), [("ai_generated", "Likely AI-generated"), ("real", "Likely a real photograph")]
)
def test_the_verdict_is_in_plain_words(prediction: Prediction, words: str) -> None:
    assert wording.verdict(verdict(prediction)) == words


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


@pytest.mark.parametrize(("milliseconds", "text"), [(45.2, "45 ms"), (999.4, "999 ms"), (2345.0, "2.3 s")])
def test_times_are_short(milliseconds: float, text: str) -> None:
    assert wording.duration(milliseconds) == text


@pytest.mark.parametrize(("count", "text"), [(1, "1 second"), (0, "0 seconds"), (0.5, "0 seconds"), (30, "30 seconds")])
def test_seconds_are_words(count: float, text: str) -> None:
    assert wording.seconds(count) == text


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


@pytest.mark.parametrize(("count", "text"), [(0, "0 photos"), (1, "1 photo"), (1200, "1,200 photos")])
def test_photos_are_counted_in_words(count: int, text: str) -> None:
    assert wording.photos(count) == text
