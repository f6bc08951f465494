import pytest

from gateway import client
from ui import wording


@pytest.mark.parametrize(
    ("theirs", "kind"),
    [
        (client.ServiceDownError, wording.ServiceDown),
        (client.ServiceSlowError, wording.ServiceSlow),
        (client.NotReadyError, wording.ServiceNotReady),
        (client.TooManyRequestsError, wording.TooManyChecks),
        (client.KeyRefusedError, wording.KeyRefused),
        (client.PhotoRefusedError, wording.PhotoRefused),
        (client.PhotoTooLargeError, wording.PhotoTooLarge),
        (client.PhotoUnreadableError, wording.PhotoGone),
        (client.ServiceFailedError, wording.ServiceFailed),
    ],
)
def test_a_clients_error_is_said_in_the_reviewers_words(
    theirs: type[client.GatewayError], kind: type[wording.CheckError]
) -> None:
    error = wording.in_page_words(theirs("Because.", request_id="abc", retry_after_s=7))
    assert (type(error), error.detail, error.reference, error.retry_after_s) == (kind, "Because.", "abc", 7)


@pytest.mark.parametrize("theirs", [client.OddAnswerError, client.RequestRefusedError])
def test_what_only_a_developer_can_mend_keeps_no_detail(theirs: type[client.GatewayError]) -> None:
    error = wording.in_page_words(theirs("probability is missing"))
    assert (type(error), error.detail) == (wording.OddAnswer, "")


def test_a_photo_is_kept_only_for_errors_that_another_try_can_mend() -> None:
    final = {wording.PhotoRefused, wording.PhotoTooLarge, wording.PhotoGone, wording.TooManyPhotos}
    again = {
        wording.ServiceDown,
        wording.ServiceSlow,
        wording.ServiceNotReady,
        wording.TooManyChecks,
        wording.KeyRefused,
    }
    assert not any(kind.again for kind in final)
    assert all(kind.again for kind in again)
