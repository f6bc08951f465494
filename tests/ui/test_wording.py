import pytest

from gateway import client
from gateway.client import GatewayError
from ui import wording


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.87, "87.0%"),
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
    ("kind", "title", "again"),
    [
        (client.ServiceDownError, "The service is down", True),
        (client.ServiceSlowError, "The service took too long to answer", True),
        (client.NotReadyError, "The service is not ready", True),
        (client.TooManyRequestsError, "Too many checks in a short time", True),
        (client.KeyRefusedError, "The service wants an API key", True),
        (client.ServiceFailedError, "The service failed internally", True),
        (client.PhotoRefusedError, "This photo cannot be checked", False),
        (client.PhotoTooLargeError, "This photo is too large", False),
        (wording.TooManyPhotosError, "Too many photos at once", False),
    ],
)
def test_an_error_has_the_reviewers_words_and_its_photo_is_kept_if_another_try_can_help(
    kind: type[GatewayError], title: str, again: bool
) -> None:
    error = kind("Because.")
    assert (wording.words(error).title, wording.may_come(error), wording.detail(error)) == (title, again, "Because.")
    untold = (client.OddAnswerError, client.RequestRefusedError, client.PhotoUnreadableError)
    assert {wording.detail(kind("probability is missing")) for kind in untold} == {""}  # only a developer can mend it
