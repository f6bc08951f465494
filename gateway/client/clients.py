"""The two clients: `Client` for programs that wait, `AsyncClient` for asyncio."""

from __future__ import annotations

import asyncio
import copy
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, Unpack

import httpx

from gateway.client import answers, calls
from gateway.client.calls import Call, Options, Photo, Steps, content
from gateway.client.errors import GatewayError, transport_error

T = TypeVar("T")
Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)
Transport = TypeVar("Transport", httpx.BaseTransport, httpx.AsyncBaseTransport)
URL: Final = "http://127.0.0.1:8080"
TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 5.0
USER_AGENT: Final = "product-photo-client"
# The second brings an error's stable code.
ACCEPT: Final = "application/json, application/problem+json"


class _Opened(Generic[Http, Transport]):
    """The connections to a gateway, and who asks."""

    _open: ClassVar[Callable[..., Any]]

    def __init__(  # noqa: PLR0913 - all but two by name
        self,
        url: str = URL,
        api_key: str = "",
        *,
        timeout_s: float = TIMEOUT_S,
        transport: Transport | None = None,
        user_agent: str = USER_AGENT,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._who = calls.identity(api_key)
        self._timeout_s = timeout_s
        self._http: Http = self._open(
            transport=transport,
            base_url=calls.address(url),
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            headers={"Accept": ACCEPT, "User-Agent": user_agent, **(headers or {})},
            # The machine's own certificates, and no proxy: an image goes to the gateway and nowhere else.
            verify=ssl.create_default_context(),
            trust_env=False,
        )

    def acting_for(self, *, api_key: str = "", caller: str = "") -> Self:
        """Return a client on the same connections with another's key, and address for the gateway's rates."""
        other = copy.copy(self)
        other._who = calls.identity(api_key, caller)  # noqa: SLF001 - our own kind
        return other

    def _steps(self, photos: Iterable[Photo], options: Options) -> Steps:
        return calls.Checking(timeout_s=self._timeout_s, **options).steps(photos)


class Client(_Opened[httpx.Client, httpx.BaseTransport]):
    """Asks a gateway; safe to share between threads, and to be closed after use."""

    _open = httpx.Client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client is of no use any more."""
        self._http.close()

    def predict(self, photo: Photo, *, evidence: bool = False) -> answers.Verdict:
        """Predict one image; its bytes go as they are, and without the file's name."""
        return self._ask(calls.predict(content(photo), evidence=evidence))

    def explain(self, photo: Photo, *, evidence: bool = False) -> answers.Explanation:
        """Predict one image and show which regions drove the verdict."""
        return self._ask(calls.explain(content(photo), evidence=evidence))

    def compare(self, photo: Photo) -> answers.Comparison:
        """Predict one image by the live and by the shadow version of the model."""
        return self._ask(calls.compare(content(photo)))

    def predict_batch(self, photos: Iterable[Photo]) -> answers.BatchResult:
        """Predict as many images as one request takes; a bad one fails alone."""
        return self._ask(calls.predict_batch([content(photo) for photo in photos]))

    def check(self, photos: Iterable[Photo], **options: Unpack[Options]) -> Iterator[answers.Outcome]:
        """Predict any number of images, and yield one outcome per image, in order and as they come; see `Options`."""
        return self._take(self._steps(photos, options))

    def health(self, *, model: bool = False) -> answers.Health:
        """State of the service, also while no inference can be served."""
        return self._ask(calls.health(model=model))

    def ready(self) -> bool:
        """Whether an inference can be served now."""
        return self._ask(calls.READY).ready

    def alive(self) -> bool:
        """Whether the gateway lives; its model is not looked at."""
        return self._ask(calls.ALIVE).alive

    def drift(self, *, histogram: bool = False) -> answers.Drift:
        """The newest predictions beside the model's reference."""
        return self._ask(calls.drift(histogram=histogram))

    def about(self) -> answers.About:
        """Name and version of the gateway; the model's version is in `health`."""
        return self._ask(calls.ABOUT)

    def _ask(self, call: Call[T]) -> T:
        try:
            response = self._http.request(headers=self._who, **call.arguments())
        except httpx.HTTPError as error:
            raise transport_error(error) from error
        return call.answer(response)

    def _take(self, steps: Steps) -> Iterator[answers.Outcome]:
        reply: object = None
        while step := calls.next_step(steps, reply):
            reply = None
            try:
                match step:
                    case calls.Read(photo):
                        reply = content(photo)
                    case Call():
                        reply = self._ask(step)
                    case calls.Wait(seconds):
                        time.sleep(seconds)
                    case _:
                        yield step
            except GatewayError as error:
                reply = error


class AsyncClient(_Opened[httpx.AsyncClient, httpx.AsyncBaseTransport]):
    """As `Client`, for asyncio; safe to share between tasks."""

    _open = httpx.AsyncClient

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the client is of no use any more."""
        await self._http.aclose()

    async def predict(self, photo: Photo, *, evidence: bool = False) -> answers.Verdict:
        """As `Client.predict`."""
        return await self._ask(calls.predict(await _content(photo), evidence=evidence))

    async def explain(self, photo: Photo, *, evidence: bool = False) -> answers.Explanation:
        """As `Client.explain`."""
        return await self._ask(calls.explain(await _content(photo), evidence=evidence))

    async def compare(self, photo: Photo) -> answers.Comparison:
        """As `Client.compare`."""
        return await self._ask(calls.compare(await _content(photo)))

    async def predict_batch(self, photos: Iterable[Photo]) -> answers.BatchResult:
        """As `Client.predict_batch`."""
        return await self._ask(calls.predict_batch([await _content(photo) for photo in photos]))

    def check(self, photos: Iterable[Photo], **options: Unpack[Options]) -> AsyncIterator[answers.Outcome]:
        """As `Client.check`."""
        return self._take(self._steps(photos, options))

    async def health(self, *, model: bool = False) -> answers.Health:
        """As `Client.health`."""
        return await self._ask(calls.health(model=model))

    async def ready(self) -> bool:
        """As `Client.ready`."""
        return (await self._ask(calls.READY)).ready

    async def alive(self) -> bool:
        """As `Client.alive`."""
        return (await self._ask(calls.ALIVE)).alive

    async def drift(self, *, histogram: bool = False) -> answers.Drift:
        """As `Client.drift`."""
        return await self._ask(calls.drift(histogram=histogram))

    async def about(self) -> answers.About:
        """As `Client.about`."""
        return await self._ask(calls.ABOUT)

    async def _ask(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(headers=self._who, **call.arguments())
        except httpx.HTTPError as error:
            raise transport_error(error) from error
        return call.answer(response)

    async def _take(self, steps: Steps) -> AsyncIterator[answers.Outcome]:
        reply: object = None
        while step := calls.next_step(steps, reply):
            reply = None
            try:
                match step:
                    case calls.Read(photo):
                        reply = await _content(photo)
                    case Call():
                        reply = await self._ask(step)
                    case calls.Wait(seconds):
                        await asyncio.sleep(seconds)
                    case _:
                        yield step
            except GatewayError as error:
                reply = error


async def _content(photo: Photo) -> bytes:
    return await asyncio.to_thread(content, photo)
