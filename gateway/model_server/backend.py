"""The client of TorchServe: pooled, bounded, with a deadline; its trouble is never the client's fault."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal, TypeVar, get_args

import httpx
import stamina
import structlog
from pydantic import BaseModel, ValidationError
from structlog.typing import FilteringBoundLogger

from gateway.errors import ApiError, CorruptImageError, InvalidDimensionsError, InvalidFormatError, UnavailableError
from gateway.images.reader import pixel_count
from gateway.model_server.fair_queue import FairQueue, QueueFullError
from gateway.model_server.token_file import TokenFile, TokenFileError
from gateway.schemas import Explanation, ModelInfo, Verdict
from gateway.settings import Settings

_log: FilteringBoundLogger = structlog.get_logger()

Route = Literal["predictions", "explanations"]
ROUTES: Final[tuple[Route, ...]] = get_args(Route)
TOKEN_REFUSED: Final = (400, 401)
CONNECT_ERRORS: Final = (httpx.ConnectError, httpx.ConnectTimeout)


@dataclass(frozen=True)
class Served:
    """A model as TorchServe knows it, how many images may be judged and wait, and the log's event for its trouble."""

    name: str
    slots: int
    places: int
    trouble: str


def live(settings: Settings) -> Served:
    """The version that TorchServe takes as the default, which all clients are answered by."""
    return Served(settings.model_name, settings.backend_concurrency, settings.backend_queue, "model_server_trouble")


class _Refusal(BaseModel):
    code: Literal["unsupported_format", "corrupt_image", "too_many_pixels", "bad_dimensions"]


_REFUSALS: Final[Mapping[str, tuple[type[ApiError], str]]] = {
    "unsupported_format": (InvalidFormatError, "Supported formats: JPEG, PNG, WebP. Got: unknown"),
    "corrupt_image": (CorruptImageError, "The image is truncated or corrupt."),
    "too_many_pixels": (InvalidDimensionsError, "The image has too many pixels."),
    "bad_dimensions": (InvalidDimensionsError, "A side of the image is too short or too long."),
}

Answer = TypeVar("Answer", bound=Verdict)


class Backend:
    """Asks TorchServe for verdicts and remembers when, and by which version, it was last answered."""

    def __init__(
        self,
        network: httpx.AsyncBaseTransport,
        token: TokenFile,
        settings: Settings,
        count_failure: Callable[[str], None] = lambda _: None,
        served: Served | None = None,
    ) -> None:
        self._network = network
        self._token = token
        self._settings = settings
        self._count_failure = count_failure
        self._served = served or live(settings)
        # The model server opens what the gateway lets through: one place decides.
        limits = f"{settings.min_side_pixels},{settings.max_side_pixels},{settings.max_pixels}"
        self._headers = {"Content-Type": "application/octet-stream", "X-Image-Limits": limits}
        base = str(settings.torchserve_url).rstrip("/")
        self._urls = {route: httpx.URL(f"{base}/{route}/{self._served.name}") for route in ROUTES}
        self.queue = FairQueue(self._served.slots, self._served.places, settings.max_pixels_in_flight)
        self._answered_at = -math.inf
        self.model_version: str | None = None
        self.model: ModelInfo | None = None

    async def predict(
        self, image: bytes, request_id: str, timeout_s: float | None = None, flow: Hashable = None
    ) -> Verdict:
        """Judge an image; calls of one `flow` take turns with all others, and without one the call is its own.

        Raises:
            UnavailableError: The model server is down, full, or over the deadline (the default is a setting).
            ApiError: It cannot judge this image; one of those of `check_image`.
        """
        return await self._ask("predictions", image, request_id, Verdict, timeout_s, flow)

    async def explain(self, image: bytes, request_id: str) -> Explanation:
        """Judge an image and show what drove the verdict; raises as `predict` does."""
        return await self._ask("explanations", image, request_id, Explanation)

    def answered_within(self, seconds: float) -> bool:
        """Whether a real inference was answered so recently."""
        return monotonic() - self._answered_at < seconds

    async def _ask(  # noqa: PLR0913, PLR0917 - all that a call needs, passed on
        self,
        route: Route,
        image: bytes,
        request_id: str,
        schema: type[Answer],
        timeout_s: float | None = None,
        flow: Hashable = None,
    ) -> Answer:
        deadline = asyncio.timeout(timeout_s or self._settings.predict_timeout_s)
        try:
            async with deadline, self.queue.slot(object() if flow is None else flow, pixel_count(image)):
                response = await self._post(route, image, request_id)
        except (TimeoutError, httpx.HTTPError, TokenFileError, QueueFullError) as error:
            raise self._unavailable(cause=type(error).__name__) from error
        return self._read(response, schema)

    async def _post(self, route: Route, image: bytes, request_id: str) -> httpx.Response:
        headers = self._headers | {"X-Request-Id": request_id}
        # Not a retrying caller: stamina would log its arguments, the image and the token among them.
        async for attempt in stamina.retry_context(
            CONNECT_ERRORS, attempts=self._settings.connect_attempts, timeout=None, wait_initial=0.05, wait_jitter=0.05
        ):
            with attempt:
                request = httpx.Request(
                    "POST", self._urls[route], content=image, headers=headers | self._token.headers()
                )
                # A client around the transport would look for cookies, redirects and more, at thrice the cost.
                return await self._network.handle_async_request(request)
        raise AssertionError  # stamina raises the last error itself

    def _read(self, response: httpx.Response, schema: type[Answer]) -> Answer:
        try:
            if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
                raise _refused(_Refusal.model_validate_json(response.content))
            if response.status_code != httpx.codes.OK:
                raise self._bad_status(response.status_code)
            answer = schema.model_validate_json(response.content)
        except ValidationError as error:
            raise self._unavailable(cause="not the agreed JSON", status=response.status_code) from error
        self._answered_at, self.model_version, self.model = monotonic(), answer.model_version, answer.model
        return answer

    def _bad_status(self, status: int) -> UnavailableError:
        if status in TOKEN_REFUSED:
            self._token.forget()
        return self._unavailable(cause="status", status=status)

    def _unavailable(self, cause: str, status: int | None = None) -> UnavailableError:
        _log.warning(self._served.trouble, cause=cause, status=status)
        self._count_failure(cause)
        return unavailable(self._settings)


def unavailable(settings: Settings) -> UnavailableError:
    """The answer while no verdict is to be had."""
    return UnavailableError("The model is not available right now.", settings.retry_after_s)


def _refused(refusal: _Refusal) -> ApiError:
    kind, detail = _REFUSALS[refusal.code]
    return kind(detail)
