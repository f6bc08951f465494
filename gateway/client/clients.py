"""The two clients: `Client` for programs that wait, `AsyncClient` for asyncio."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from gateway.client import answers, calls
from gateway.client.calls import TIMEOUT_S, URL, USER_AGENT, Call, Photo, content, identity, options, try_content
from gateway.client.checking import PATIENCE_S, Ask, Checking, OnWait, Read, Wait, Wishes
from gateway.client.errors import GatewayError, transport_error

T = TypeVar("T")


class Client:
    """Asks a gateway; safe to share between threads, and to be closed after use."""

    def __init__(  # noqa: PLR0913 - all but two by name
        self,
        url: str = URL,
        api_key: str = "",
        *,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
        user_agent: str = USER_AGENT,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._who = identity(api_key, "")
        self._timeout_s = timeout_s
        self._http = httpx.Client(transport=transport, **options(url, timeout_s, user_agent, headers))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client is of no use any more."""
        self._http.close()

    def acting_for(self, *, api_key: str = "", caller: str = "") -> Client:
        """Return a client on the same connections with another's key, and address for the gateway's rates."""
        other = copy.copy(self)
        other._who = identity(api_key, caller)  # noqa: SLF001 - our own kind
        return other

    def predict(self, photo: Photo, *, evidence: bool = False) -> answers.Verdict:
        """Judge one photo; its bytes go as they are, and without the file's name."""
        return self._ask(calls.predict(content(photo), evidence=evidence))

    def explain(self, photo: Photo, *, evidence: bool = False) -> answers.Explanation:
        """Judge one photo and show which regions drove the verdict."""
        return self._ask(calls.explain(content(photo), evidence=evidence))

    def compare(self, photo: Photo) -> answers.Comparison:
        """Judge one photo by the live and by the shadow version of the model."""
        return self._ask(calls.compare(content(photo)))

    def predict_batch(self, photos: Iterable[Photo]) -> answers.BatchResult:
        """Judge as many photos as one request takes; a bad one fails alone."""
        return self._ask(calls.predict_batch([content(photo) for photo in photos]))

    def check(  # noqa: PLR0913 - wishes by name
        self,
        photos: Iterable[Photo],
        *,
        batch_size: int | None = None,
        explain: bool = False,
        evidence: bool = False,
        patience_s: float = PATIENCE_S,
        on_wait: OnWait | None = None,
    ) -> Iterator[answers.Outcome]:
        """Judge any number of photos, and yield one outcome a photo, in order and as they come.

        A batch that meets a rate or a service that is away is sent again until `patience_s` seconds were waited
        for it; `on_wait` is told of each wait. Explanations and evidence are asked for photo by photo.
        """
        wishes = Wishes(batch_size, explain, evidence, patience_s, self._timeout_s)
        return self._take(Checking(wishes), photos, on_wait)

    def health(self, *, model: bool = False) -> answers.Health:
        """State of the service, also while no inference can be served."""
        return self._ask(calls.health(model=model))

    def ready(self) -> bool:
        """Whether an inference can be served now."""
        return self._ask(calls.ready())

    def alive(self) -> bool:
        """Whether the gateway lives; its model is not looked at."""
        return self._ask(calls.alive())

    def drift(self, *, histogram: bool = False) -> answers.Drift:
        """The newest predictions beside the model's reference."""
        return self._ask(calls.drift(histogram=histogram))

    def about(self) -> answers.About:
        """Name and version of the gateway; the model's version is in `health`."""
        return self._ask(calls.about())

    def _ask(self, call: Call[T]) -> T:
        try:
            response = self._http.request(headers=self._who, **call.arguments())
        except httpx.HTTPError as error:
            raise transport_error(error) from error
        return call.answer(response)

    def _take(self, checking: Checking, photos: Iterable[Photo], on_wait: OnWait | None) -> Iterator[answers.Outcome]:
        steps, reply = checking.steps(photos), None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration:
                return
            reply = None
            match step:
                case Read():
                    reply = try_content(step.photo)
                case Ask():
                    reply = self._try(step.call)
                case Wait():
                    if on_wait:
                        on_wait(step.seconds, step.error)
                    time.sleep(step.seconds)
                case answers.Verdict() | answers.Failure():
                    yield step

    def _try(self, call: Call[Any]) -> Any:  # noqa: ANN401 - as the call's answer
        try:
            return self._ask(call)
        except GatewayError as error:
            return error


class AsyncClient:
    """Asks a gateway; safe to share between tasks, and to be closed after use."""

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
        self._who = identity(api_key, "")
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(transport=transport, **options(url, timeout_s, user_agent, headers))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the client is of no use any more."""
        await self._http.aclose()

    def acting_for(self, *, api_key: str = "", caller: str = "") -> AsyncClient:
        """Return a client on the same connections with another's key, and address for the gateway's rates."""
        other = copy.copy(self)
        other._who = identity(api_key, caller)  # noqa: SLF001 - our own kind
        return other

    async def predict(self, photo: Photo, *, evidence: bool = False) -> answers.Verdict:
        """Judge one photo; its bytes go as they are, and without the file's name."""
        return await self._ask(calls.predict(await _content(photo), evidence=evidence))

    async def explain(self, photo: Photo, *, evidence: bool = False) -> answers.Explanation:
        """Judge one photo and show which regions drove the verdict."""
        return await self._ask(calls.explain(await _content(photo), evidence=evidence))

    async def compare(self, photo: Photo) -> answers.Comparison:
        """Judge one photo by the live and by the shadow version of the model."""
        return await self._ask(calls.compare(await _content(photo)))

    async def predict_batch(self, photos: Iterable[Photo]) -> answers.BatchResult:
        """Judge as many photos as one request takes; a bad one fails alone."""
        return await self._ask(calls.predict_batch([await _content(photo) for photo in photos]))

    def check(  # noqa: PLR0913 - wishes by name
        self,
        photos: Iterable[Photo],
        *,
        batch_size: int | None = None,
        explain: bool = False,
        evidence: bool = False,
        patience_s: float = PATIENCE_S,
        on_wait: OnWait | None = None,
    ) -> AsyncIterator[answers.Outcome]:
        """Judge any number of photos, and yield one outcome a photo, in order and as they come.

        A batch that meets a rate or a service that is away is sent again until `patience_s` seconds were waited
        for it; `on_wait` is told of each wait. Explanations and evidence are asked for photo by photo.
        """
        wishes = Wishes(batch_size, explain, evidence, patience_s, self._timeout_s)
        return self._take(Checking(wishes), photos, on_wait)

    async def health(self, *, model: bool = False) -> answers.Health:
        """State of the service, also while no inference can be served."""
        return await self._ask(calls.health(model=model))

    async def ready(self) -> bool:
        """Whether an inference can be served now."""
        return await self._ask(calls.ready())

    async def alive(self) -> bool:
        """Whether the gateway lives; its model is not looked at."""
        return await self._ask(calls.alive())

    async def drift(self, *, histogram: bool = False) -> answers.Drift:
        """The newest predictions beside the model's reference."""
        return await self._ask(calls.drift(histogram=histogram))

    async def about(self) -> answers.About:
        """Name and version of the gateway; the model's version is in `health`."""
        return await self._ask(calls.about())

    async def _ask(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(headers=self._who, **call.arguments())
        except httpx.HTTPError as error:
            raise transport_error(error) from error
        return call.answer(response)

    async def _take(
        self, checking: Checking, photos: Iterable[Photo], on_wait: OnWait | None
    ) -> AsyncIterator[answers.Outcome]:
        steps, reply = checking.steps(photos), None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration:
                return
            reply = None
            match step:
                case Read():
                    reply = await asyncio.to_thread(try_content, step.photo)
                case Ask():
                    reply = await self._try(step.call)
                case Wait():
                    if on_wait:
                        on_wait(step.seconds, step.error)
                    await asyncio.sleep(step.seconds)
                case answers.Verdict() | answers.Failure():
                    yield step

    async def _try(self, call: Call[Any]) -> Any:  # noqa: ANN401 - as the call's answer
        try:
            return await self._ask(call)
        except GatewayError as error:
            return error


async def _content(photo: Photo) -> bytes:
    return await asyncio.to_thread(content, photo)
