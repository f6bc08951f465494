"""The two clients: `Client` for programs that wait, `AsyncClient` for asyncio."""

from __future__ import annotations

import asyncio
import copy
import functools
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Generic, ParamSpec, Self, TypeVar, Unpack, overload

import httpx

from gateway.client import calls
from gateway.client.answers import GatewayError, Outcome, transport_error
from gateway.client.calls import Call, Options, Photo, Steps

P = ParamSpec("P")
T = TypeVar("T")
Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)
Transport = TypeVar("Transport", httpx.BaseTransport, httpx.AsyncBaseTransport)
URL: Final = "http://127.0.0.1:8080"
TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 5.0
USER_AGENT: Final = "product-photo-client"
# The second brings an error's stable code.
ACCEPT: Final = "application/json, application/problem+json"


class _Method(Generic[P, T]):
    """A call as a method: of `Client` it returns the answer, of `AsyncClient` what is awaited for it."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self._make = make

    @overload
    def __get__(self, client: Client, _: type[Client]) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncClient, _: type[AsyncClient]) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(
        self, client: Client | AsyncClient, _: type[Client | AsyncClient]
    ) -> Callable[P, T | Coroutine[Any, Any, T]]:
        @functools.wraps(self._make)
        def method(*args: P.args, **options: P.kwargs) -> T | Coroutine[Any, Any, T]:
            return client._ask(self._make(*args, **options))  # noqa: SLF001 - our own kind

        return method


class _Opened(Generic[Http, Transport]):
    """The connections to a gateway, who asks, and what can be asked."""

    _open: ClassVar[Callable[..., Any]]
    predict = _Method(calls.predict)
    explain = _Method(calls.explain)
    compare = _Method(calls.compare)
    predict_batch = _Method(calls.predict_batch)
    health = _Method(calls.health)
    ready = _Method(calls.ready)
    alive = _Method(calls.alive)
    drift = _Method(calls.drift)
    about = _Method(calls.about)

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

    def check(self, photos: Iterable[Photo], **options: Unpack[Options]) -> Iterator[Outcome]:
        """Predict any number of images, and yield one outcome per image, in order and as they come; see `Options`."""
        return self._take(self._steps(photos, options))

    def _ask(self, call: Call[T]) -> T:
        try:
            response = self._http.request(headers=self._who, **call.arguments())
        except httpx.HTTPError as error:
            raise transport_error(error) from error
        return call.answer(response)

    def _take(self, steps: Steps) -> Iterator[Outcome]:
        reply: object = None
        while step := calls.next_step(steps, reply):
            reply = None
            try:
                match step:
                    case calls.Read(photo):
                        reply = calls.content(photo)
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

    def check(self, photos: Iterable[Photo], **options: Unpack[Options]) -> AsyncIterator[Outcome]:
        """As `Client.check`."""
        return self._take(self._steps(photos, options))

    async def _ask(self, call: Call[T]) -> T:
        arguments = await asyncio.to_thread(call.arguments)  # it may read files
        try:
            response = await self._http.request(headers=self._who, **arguments)
        except httpx.HTTPError as error:
            raise transport_error(error) from error
        return call.answer(response)

    async def _take(self, steps: Steps) -> AsyncIterator[Outcome]:
        reply: object = None
        while step := calls.next_step(steps, reply):
            reply = None
            try:
                match step:
                    case calls.Read(photo):
                        reply = await asyncio.to_thread(calls.content, photo)
                    case Call():
                        reply = await self._ask(step)
                    case calls.Wait(seconds):
                        await asyncio.sleep(seconds)
                    case _:
                        yield step
            except GatewayError as error:
                reply = error
