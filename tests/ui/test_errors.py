import pytest

from gateway import client
from ui import errors


@pytest.mark.parametrize(
    ("theirs", "kind"),
    [
        (client.ServiceDownError, errors.ServiceDown),
        (client.ServiceSlowError, errors.ServiceSlow),
        (client.NotReadyError, errors.ServiceNotReady),
        (client.TooManyRequestsError, errors.TooManyChecks),
        (client.KeyRefusedError, errors.KeyRefused),
        (client.PhotoRefusedError, errors.PhotoRefused),
        (client.PhotoTooLargeError, errors.PhotoTooLarge),
        (client.PhotoUnreadableError, errors.PhotoGone),
        (client.ServiceFailedError, errors.ServiceFailed),
    ],
)
def test_a_clients_error_is_said_in_the_reviewers_words(
    theirs: type[client.GatewayError], kind: type[errors.CheckError]
) -> None:
    error = errors.in_page_words(theirs("Because.", request_id="abc", retry_after_s=7))
    assert (type(error), error.detail, error.reference, error.retry_after_s) == (kind, "Because.", "abc", 7)


@pytest.mark.parametrize("theirs", [client.OddAnswerError, client.RequestRefusedError])
def test_what_only_a_developer_can_mend_keeps_no_detail(theirs: type[client.GatewayError]) -> None:
    error = errors.in_page_words(theirs("probability is missing"))
    assert (type(error), error.detail) == (errors.OddAnswer, "")


def test_a_photo_is_kept_only_for_errors_that_another_try_can_mend() -> None:
    final = {errors.PhotoRefused, errors.PhotoTooLarge, errors.PhotoGone, errors.TooManyPhotos}
    again = {errors.ServiceDown, errors.ServiceSlow, errors.ServiceNotReady, errors.TooManyChecks, errors.KeyRefused}
    assert not any(kind.again for kind in final)
    assert all(kind.again for kind in again)
