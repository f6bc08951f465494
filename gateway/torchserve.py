"""The client of TorchServe: pooled, bounded, fair, with a deadline; its trouble is never the client's fault."""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Final, Literal, NamedTuple, TypeVar

import aiohttp
import httpx
import stamina
import structlog
from PIL import Image
from pydantic import AliasPath, BaseModel, Field, ValidationError

from gateway.errors import ApiError, CorruptImageError, InvalidDimensionsError, InvalidFormatError, UnavailableError
from gateway.images import CheckedImage
from gateway.schemas import Explanation, ModelInfo, Verdict
from gateway.settings import Settings

_log = structlog.get_logger()
TOKEN_REFUSED: Final = (400, 401)
CONNECT_ERRORS: Final = (httpx.ConnectError, httpx.ConnectTimeout)
_REFUSALS: Final[Mapping[str, tuple[type[ApiError], str]]] = {
    "unsupported_format": (InvalidFormatError, "Supported formats: JPEG, PNG, WebP. Got: unknown"),
    "corrupt_image": (CorruptImageError, "The image is truncated or corrupt."),
    "too_many_pixels": (InvalidDimensionsError, "The image has too many pixels."),
    "bad_dimensions": (InvalidDimensionsError, "A side of the image is too short or too long."),
}
Answer = TypeVar("Answer", bound=Verdict)
IDLE_S: Final = 5
"""Seconds for which an unused connection is kept."""
PROBE_ID: Final = "readiness"
PROBE_SIZE: Final = (32, 32)
Turn = tuple[asyncio.Future[None], float]
"""What a call waits for, and its weight."""


class QueueFullError(Exception):
    """All slots or all room are taken, and so are all places in the line."""


class FairQueue:
    """A bounded line for a few slots: served to flows in rotation, and within a flow first come, first served.

    Calls have weights, and those that run at the same time have no more than `room` together, unless there is but one.
    All of its users run in the event loop, so no lock is needed.
    """

    def __init__(self, slots: int, places: int, room: float = math.inf) -> None:
        self._free = slots
        self._places = places
        self._room = self._left = room
        self._flows: OrderedDict[Hashable, deque[Turn]] = OrderedDict()  # the next flow comes first
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def slot(self, flow: Hashable, weight: float = 0) -> AsyncIterator[None]:
        """Hold a slot while the block runs, after the flow's turn; raises QueueFullError without a place to wait in."""
        weight = min(weight, self._room)
        await self._enter(flow, weight)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._leave(weight)

    async def _enter(self, flow: Hashable, weight: float) -> None:
        if not self._flows and self._fits(weight):
            self._take(weight)
            return
        if self.waiting >= self._places:
            raise QueueFullError
        turn: Turn = (asyncio.get_running_loop().create_future(), weight)
        self._flows.setdefault(flow, deque()).append(turn)
        self.waiting += 1
        try:
            await turn[0]
        except asyncio.CancelledError:
            if turn[0].cancelled():
                self._pass_on()  # it may have been too heavy, and the one in the way
            else:  # the slot came in the moment of leaving
                self._leave(weight)
            raise
        finally:
            self.waiting -= 1

    def _fits(self, weight: float) -> bool:
        return self._free > 0 and weight <= self._left

    def _take(self, weight: float) -> None:
        self._free -= 1
        self._left -= weight

    def _leave(self, weight: float) -> None:
        self._free += 1
        self._left += weight
        self._pass_on()

    def _pass_on(self) -> None:
        """Give what is free to the next flows; a call that gave up is passed over, a heavy one not overtaken."""
        while self._flows:
            flow, line = next(iter(self._flows.items()))
            turn, weight = line[0]
            if not turn.done() and not self._fits(weight):
                return
            line.popleft()
            del self._flows[flow]
            if line:
                self._flows[flow] = line  # behind all others
            if not turn.done():
                self._take(weight)
                turn.set_result(None)


class TokenFileError(Exception):
    """The key file is missing or not what TorchServe writes."""


class _KeyFile(BaseModel):
    key: str = Field(pattern=r"^[\x21-\x7e]+$", validation_alias=AliasPath("inference", "key"))


class TokenFile:
    """The inference token, read again when the file changes or the token was refused."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: int | None = None
        self._token = ""

    def headers(self) -> dict[str, str]:
        """The header that authorizes a call, none without a key file; raises TokenFileError where it cannot be read."""
        if self._path is None:
            return {}
        try:
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._token = _KeyFile.model_validate_json(self._path.read_bytes()).key
                self._stamp = stamp
        except (OSError, ValidationError):
            raise TokenFileError(f"no inference key in {self._path}") from None  # its text could quote the keys
        return {"Authorization": f"Bearer {self._token}"}

    def forget(self) -> None:
        """Read the file again before the next call: the token was refused."""
        self._stamp = None


class Served(NamedTuple):
    """A model as TorchServe knows it, how many calls may run and wait, and the log's event for its trouble."""

    name: str
    slots: int
    places: int
    trouble: str


class _Refusal(BaseModel):
    code: Literal["unsupported_format", "corrupt_image", "too_many_pixels", "bad_dimensions"]


class Backend:
    """Has TorchServe predict, and remembers when, and by which version, it was last answered."""

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
        # Without another, the version that TorchServe takes as the default, which answers all clients.
        self._served = served or Served(
            settings.model_name, settings.backend_concurrency, settings.backend_queue, "model_server_trouble"
        )
        # The model server opens what the gateway lets through: one place decides.
        limits = f"{settings.min_side_pixels},{settings.max_side_pixels},{settings.max_pixels}"
        self._headers = {"Content-Type": "application/octet-stream", "X-Image-Limits": limits}
        base = str(settings.torchserve_url).rstrip("/")
        self._predictions = httpx.URL(f"{base}/predictions/{self._served.name}")
        self._explanations = httpx.URL(f"{base}/explanations/{self._served.name}")
        self.queue = FairQueue(self._served.slots, self._served.places, settings.max_pixels_in_flight)
        self._answered_at = -math.inf
        self.model_version: str | None = None
        self.model: ModelInfo | None = None

    async def predict(
        self, image: CheckedImage, request_id: str, timeout_s: float | None = None, flow: Hashable = None
    ) -> Verdict:
        """Predict an image; calls of one `flow` take turns with all others, and without one the call is its own.

        Raises:
            UnavailableError: The model server is down, full, or over the deadline (the default is a setting).
            ApiError: It cannot predict this image; one of those of `check_image`.
        """
        timeout_s = timeout_s or self._settings.predict_timeout_s
        return self._read(await self._post(self._predictions, image, request_id, timeout_s, flow), Verdict)

    async def explain(self, image: CheckedImage, request_id: str) -> Explanation:
        """Predict an image and show what drove the prediction; raises as `predict` does."""
        timeout_s = self._settings.predict_timeout_s
        return self._read(await self._post(self._explanations, image, request_id, timeout_s), Explanation)

    def answered_within(self, seconds: float) -> bool:
        """Whether a real inference was answered so recently."""
        return monotonic() - self._answered_at < seconds

    async def _post(
        self, url: httpx.URL, image: CheckedImage, request_id: str, timeout_s: float, flow: Hashable = None
    ) -> httpx.Response:
        # Not a retrying caller: stamina would log its arguments, the image and the token among them.
        attempts = stamina.retry_context(
            CONNECT_ERRORS, attempts=self._settings.connect_attempts, timeout=None, wait_initial=0.05, wait_jitter=0.05
        )
        slot = self.queue.slot(object() if flow is None else flow, image.pixels)
        try:
            async with asyncio.timeout(timeout_s), slot:
                async for attempt in attempts:
                    with attempt:
                        headers = self._headers | {"X-Request-Id": request_id} | self._token.headers()
                        request = httpx.Request("POST", url, content=image.data, headers=headers)
                        # A client around the transport would look for cookies, redirects and more, at thrice the cost.
                        return await self._network.handle_async_request(request)
        except (TimeoutError, httpx.HTTPError, TokenFileError, QueueFullError) as error:
            raise self._unavailable(cause=type(error).__name__) from error
        raise AssertionError  # stamina raises the last error itself

    def _read(self, response: httpx.Response, schema: type[Answer]) -> Answer:
        try:
            if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
                kind, detail = _REFUSALS[_Refusal.model_validate_json(response.content).code]
                raise kind(detail)
            if response.status_code in TOKEN_REFUSED:
                self._token.forget()
            if response.status_code != httpx.codes.OK:
                raise self._unavailable(cause="status", status=response.status_code)
            answer = schema.model_validate_json(response.content)
        except ValidationError as error:
            raise self._unavailable(cause="not the agreed JSON", status=response.status_code) from error
        self._answered_at, self.model_version, self.model = monotonic(), answer.model_version, answer.model
        return answer

    def _unavailable(self, cause: str, status: int | None = None) -> UnavailableError:
        _log.warning(self._served.trouble, cause=cause, status=status)
        self._count_failure(cause)
        return unavailable()


def unavailable() -> UnavailableError:
    """The answer while nothing can be predicted."""
    return UnavailableError("The model is not available right now.")


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Plain requests over a pool of connections; to be built while the event loop runs."""

    def __init__(self, connections: int, connect_timeout_s: float) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, keepalive_timeout=IDLE_S, ssl=httpx.create_ssl_context(trust_env=False)
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # httpx does it
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),  # the request says all there is to say
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make one attempt and read the whole answer; raises httpx.TransportError where there is none."""
        try:
            async with self._session.request(
                request.method,
                str(request.url),
                # As they were written: TorchServe's handlers tell upper case from lower.
                headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
                data=request.stream,
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise _in_httpx_words(error) from error
        return httpx.Response(answer.status, headers=answer.raw_headers, content=content, request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


def _in_httpx_words(error: Exception) -> httpx.TransportError:
    # Only what happened before the request was sent may look like a failure to connect: those are tried again.
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout("no connection in time")
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx.ConnectError("no connection")
    return httpx.ReadError("no whole answer")


class Readiness:
    """Ready while the model server answers: by clients' own requests, or else by a tiny image sent to it."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._cache_s = settings.readiness_cache_s
        self._timeout_s = settings.readiness_timeout_s
        tiny = Image.new("RGB", PROBE_SIZE, "grey")
        tiny.save(buffer := BytesIO(), "JPEG")
        self._image = CheckedImage(buffer.getvalue(), math.prod(PROBE_SIZE))
        self._failed_at = -math.inf
        self._one_at_a_time = asyncio.Lock()

    async def check(self) -> bool:
        """Whether an inference was answered within the cache time, or is answered now."""
        async with self._one_at_a_time:
            if self._backend.answered_within(self._cache_s):
                return True
            if monotonic() - self._failed_at < self._cache_s:
                return False
            try:
                await self._backend.predict(self._image, PROBE_ID, self._timeout_s)
            except ApiError:
                self._failed_at = monotonic()
                return False
            return True
