"""What can go wrong between a photo and its verdict: one family, each message with what to do next."""

from __future__ import annotations

from typing import ClassVar


class GatewayError(Exception):
    """A call that ended without its answer; `status` is None when no answer came at all."""

    title: ClassVar[str] = "The call failed"
    advice: ClassVar[str] = "Try again in a moment."
    again: ClassVar[bool] = False
    """Whether the same call may succeed later."""

    def __init__(
        self,
        detail: str = "",
        *,
        status: int | None = None,
        code: str = "",
        request_id: str = "",
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        said = f"{self.title}: {self.detail}" if self.detail else self.title
        return f"{said.removesuffix('.')}. {self.advice}"


class ServiceDownError(GatewayError):
    """Nothing answers at the gateway's address, or the connection broke."""

    title = "The gateway does not answer"
    advice = "Check that it runs and that the address is right, then try again."
    again = True


class ServiceSlowError(ServiceDownError):
    """The gateway, or a proxy in front of it, gave no answer in time."""

    title = "The gateway took too long to answer"
    advice = "Try again, with a longer timeout if it keeps happening."


class NotReadyError(GatewayError):
    """503: the model is loading, restarting, or its queue is full."""

    title = "The service is not ready"
    advice = "It may be starting or busy: try again in a moment."
    again = True


class TooManyRequestsError(GatewayError):
    """429: the rate is used up."""

    title = "Too many requests in a short time"
    advice = "Wait as long as the service says, then continue."
    again = True


class KeyRefusedError(GatewayError):
    """401 or 403: no API key, or one that the gateway does not know."""

    title = "The API key was refused"
    advice = "Use a valid key, or ask the service's operator for one."


class PhotoRefusedError(GatewayError):
    """400: not a picture that the gateway takes."""

    title = "The photo cannot be checked"
    advice = "Use a complete, undamaged JPEG, PNG or WebP file."


class PhotoTooLargeError(PhotoRefusedError):
    """413: more bytes than the gateway takes."""

    title = "The photo is too large"
    advice = "Use a smaller file, or save the photo with fewer pixels."


class PhotoUnreadableError(PhotoRefusedError):
    """The file cannot be read here; nothing was sent."""

    title = "The photo cannot be read"
    advice = "Check that the file exists and is readable."


class RequestRefusedError(GatewayError):
    """Another 4xx: the gateway does not know, or does not take, what was asked."""

    title = "The gateway refused the request"
    advice = "Check that the address is a gateway's, and that its version matches this client's."


class ServiceFailedError(GatewayError):
    """500: a fault inside the gateway."""

    title = "The gateway failed internally"
    advice = "Give the service's operator the request id; the log has the cause."


class OddAnswerError(GatewayError):
    """An answer that the API's contract does not know."""

    title = "Unexpected response from the gateway"
    advice = "Check that the address is a gateway's, and that its version matches this client's."
