import pytest

from gateway.client.answers import Confidence, Prediction
from tests.ui.made import verdict
from ui import wording


@pytest.mark.parametrize(
    ("prediction", "probability", "words"),
    [
        ("ai_generated", 0.9, "Likely AI-generated"),
        ("ai_generated", 0.46, "Flagged as possibly AI-generated"),
        ("real", 0.1, "Likely a real photograph"),
        ("real", 0.7999, "Not flagged as AI-generated"),
    ],
)
def test_the_verdict_is_in_plain_words_and_claims_no_more_than_the_score(
    prediction: Prediction, probability: float, words: str
) -> None:
    assert wording.verdict(verdict(prediction, probability)) == words


def test_a_verdict_on_the_other_side_of_its_score_is_explained() -> None:
    assert wording.warning(verdict("real", 0.79)) == wording.CAREFUL
    assert wording.warning(verdict("ai_generated", 0.46)) == wording.STRICT
    assert wording.warning(verdict("real", 0.49)) == wording.warning(verdict("ai_generated", 0.5)) == ""


@pytest.mark.parametrize(
    ("prediction", "probability", "confidence", "look"),
    [
        ("real", 0.1, "high", "real"),
        ("ai_generated", 0.9, "high", "ai_generated"),
        ("real", 0.43, "low", "undecided"),
        ("real", 0.79, "medium", "undecided"),
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
