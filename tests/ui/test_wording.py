import pytest

from ui import errors, wording
from ui.answer import Answer, Confidence, Prediction

JPEG = b"\xff\xd8 heat map"


def made(prediction: Prediction = "real", probability: float = 0.12, confidence: Confidence = "high") -> Answer:
    return Answer(prediction, probability, confidence, JPEG, 45.2, "1.0.0")


@pytest.mark.parametrize(
    ("prediction", "words"), [("ai_generated", "Likely AI-generated"), ("real", "Likely a real photograph")]
)
def test_the_verdict_is_in_plain_words(prediction: Prediction, words: str) -> None:
    assert f"<h2>{words}</h2>" in wording.answer_html(made(prediction), JPEG)


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


def test_the_bar_is_as_long_as_the_probability() -> None:
    html = wording.answer_html(made(probability=0.4311), JPEG)
    assert 'aria-valuenow="43.1"' in html
    assert "width:43.1%" in html


def test_low_confidence_is_to_be_treated_as_undecided_and_takes_no_verdicts_colour() -> None:
    html = wording.answer_html(made("real", 0.43, "low"), JPEG)
    assert "Low confidence: treat as undecided" in html
    assert 'class="card undecided"' in html


@pytest.mark.parametrize("confidence", ["high", "medium", "low"])
def test_each_confidence_says_what_it_means(confidence: Confidence) -> None:
    name, meaning = wording.CONFIDENCES[confidence]
    html = wording.answer_html(made(confidence=confidence), JPEG)
    assert name in html
    assert meaning in html


def test_the_answer_is_called_a_hint_and_shows_version_and_time() -> None:
    html = wording.answer_html(made(), JPEG)
    assert "a hint, not proof" in html
    assert "Model version 1.0.0 · answered in 45 ms" in html


def test_without_a_preview_the_heat_map_stands_alone() -> None:
    assert wording.answer_html(made(), None).count("<img") == 1
    assert wording.answer_html(made(), JPEG).count("<img") == 2


def test_what_the_gateway_writes_is_never_html() -> None:
    answer = Answer("real", 0.1, "high", JPEG, 1.0, "<script>1</script>")
    error = errors.PhotoRefused("<img src=x onerror=alert(1)>", reference='"><b>')
    assert "<script" not in wording.answer_html(answer, None)
    assert "<img" not in wording.error_html(error)
    assert "<b>" not in wording.error_html(error)


def test_an_error_says_what_happened_what_the_service_said_and_what_to_do() -> None:
    html = wording.error_html(errors.TooManyChecks("Limit: 10 a minute.", retry_after_s=17, reference="abc"))
    for words in (errors.TooManyChecks.title, "Limit: 10 a minute.", "wait 17 seconds", "Reference abc"):
        assert words in html


@pytest.mark.parametrize(("count", "text"), [(1, "1 second"), (0, "0 seconds"), (30, "30 seconds")])
def test_seconds_are_words(count: int, text: str) -> None:
    assert wording.seconds(count) == text


def test_a_photo_is_kept_only_for_errors_that_another_try_can_mend() -> None:
    final = {errors.PhotoRefused, errors.PhotoTooLarge, errors.PhotoGone}
    again = {errors.ServiceDown, errors.ServiceSlow, errors.ServiceNotReady, errors.TooManyChecks, errors.KeyRefused}
    assert not any(kind.again for kind in final)
    assert all(kind.again for kind in again)
