"""The two clients: `Client` for programs that wait, `AsyncClient` for asyncio."""

from __future__ import annotations

import asyncio
import copy
import functools
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from threading import Thread
from typing import Any, Final, Generic, ParamSpec, Self, TypeVar, Unpack, overload

import httpx

from gateway.client import calls
from gateway.client.answers import Outcome, transport_error

P = ParamSpec("P")
T = TypeVar("T")
URL: Final = "http://127.0.0.1:8080"
TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 5.0
USER_AGENT: Final = "product-photo-client"
# The second brings an error's stable code.
ACCEPT: Final = "application/json, application/problem+json"


class _Method(Generic[P, T]):
    """A call as a method: of `Client` it returns the answer, of `AsyncClient` what is awaited for it."""

    def __init__(self, make: Callable[P, calls.Call[T]]) -> None:
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


class _Opened:
    """The connections to a gateway, who asks, and what can be asked."""

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
        transport: httpx.AsyncBaseTransport | None = None,
        user_agent: str = USER_AGENT,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._who = calls.identity(api_key)
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
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

    def _checking(self, options: calls.Options) -> calls.Checking:
        return calls.Checking(self._answer, self._timeout_s, **options)

    async def _answer(self, call: calls.Call[T]) -> T:
        arguments = await asyncio.to_thread(call.arguments)  # it may read files
        try:
            response = await self._http.request(headers=self._who, **arguments)
        except httpx.HTTPError as error:
            raise transport_error(error) from error
        return call.answer(response)


class AsyncClient(_Opened):
    """Asks a gateway; safe to share between tasks, and to be closed after use."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the client is of no use any more."""
        await self._http.aclose()

    async def check(self, photos: Iterable[calls.Photo], **options: Unpack[calls.Options]) -> AsyncIterator[Outcome]:
        """Predict any number of images, and yield one outcome per image, in order and as they come; see `Options`."""
        checking = self._checking(options)
        batches = checking.batches(photos)
        while batch := await asyncio.to_thread(next, batches, None):
            for outcome in await checking.predict(batch):
                yield outcome

    async def _ask(self, call: calls.Call[T]) -> T:
        return await self._answer(call)


class Client(_Opened):
    """As `AsyncClient`, for programs that wait; safe to share between threads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client is of no use any more."""
        _wait(self._http.aclose())

    def check(self, photos: Iterable[calls.Photo], **options: Unpack[calls.Options]) -> Iterator[Outcome]:
        """As `AsyncClient.check`."""
        checking = self._checking(options)
        for batch in checking.batches(photos):
            yield from _wait(checking.predict(batch))

    def _ask(self, call: calls.Call[T]) -> T:
        return _wait(self._answer(call))


@functools.cache
def _loop(process: int) -> asyncio.AbstractEventLoop:  # noqa: ARG001 - a fork has no threads of its parent's
    """The event loop of all clients that wait, in a thread of its own."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="product-photo-client", daemon=True).start()
    return loop


def _wait(work: Coroutine[Any, Any, T]) -> T:
    future = asyncio.run_coroutine_threadsafe(work, _loop(os.getpid()))
    try:
        return future.result()
    finally:
        future.cancel()  # of effect after Ctrl-C alone
