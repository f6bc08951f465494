"""What the clients do: each call of the API, and many images through its batches."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, Generic, TypedDict, TypeVar

import httpx

from gateway import schemas
from gateway.client import answers

T = TypeVar("T")
Photo = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO
KINDS: Final = 'an image is the bytes of its file, a path, or a file opened for bytes: open(path, "rb")'
UNHEALTHY: Final = frozenset({httpx.codes.SERVICE_UNAVAILABLE})
BATCH_FILES: Final = 10
BATCH_BYTES: Final = 50 * 1024 * 1024
"""The gateway's defaults; where it takes less, its refusals are heeded."""
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 15.0


def content(photo: Photo) -> bytes:
    """Return an image's bytes as they are; a text is a path.

    Raises:
        PhotoUnreadableError: The file is not there, is a folder, is closed or may not be read.
        TypeError: The program gave something else than an image's file, such as its pixels or a file opened for text.
    """
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    try:
        data = Path(photo).read_bytes() if isinstance(photo, str | os.PathLike) else _read(photo)
    except UnicodeDecodeError as error:  # opened for text
        raise TypeError(KINDS) from error
    except (OSError, ValueError) as error:  # a path may have a character that no path can have
        raise answers.PhotoUnreadableError(getattr(error, "strerror", None) or str(error), code="unreadable") from error
    if not isinstance(data, bytes):
        raise TypeError(f"{KINDS}; this one gives {type(data).__name__}")
    return data


def _read(photo: BinaryIO) -> object:
    if not callable(getattr(photo, "read", None)):
        raise TypeError(f"{KINDS}, not {type(photo).__name__}; pixels that are encoded again are a different file")
    return photo.read()


def identity(api_key: str, caller: str = "") -> dict[bytes, bytes]:
    """Return the headers that say who asks.

    Raises:
        KeyRefusedError: The key cannot be sent.
    """
    key = api_key.strip()
    if not key.isprintable():
        raise answers.KeyRefusedError("It contains characters that no key can have.", code="unauthorized")
    sent = {b"X-API-Key": key.encode(), b"X-Forwarded-For": caller.encode()}
    return {name: value for name, value in sent.items() if value}


def address(url: str) -> httpx.URL:
    """Return the gateway's address.

    Raises:
        ValueError: It is none.
    """
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL:
        found = httpx.URL("")
    if found.scheme not in {"http", "https"} or not found.host:
        raise ValueError("not an address of a gateway: write it like http://127.0.0.1:8080")
    return found


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the reader of its answer; `also` are statuses whose body is the answer, beside 200."""

    method: str
    path: str
    read: Callable[[bytes], T]
    files: Sequence[tuple[str, Photo]] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    also: frozenset[int] = frozenset()

    def arguments(self) -> dict[str, Any]:
        """What httpx wants of it; reads the images, as `content`."""
        # The files' own names stay here: the gateway needs none, and a name can tell more than its image.
        files = [(name, ("photo", content(photo), "application/octet-stream")) for name, photo in self.files]
        return {"method": self.method, "url": self.path, "params": self.params, "files": files or None}

    def answer(self, response: httpx.Response) -> T:
        """Read the answer.

        Raises:
            GatewayError: It is a refusal, or nothing that the API knows.
        """
        expected = response.status_code == httpx.codes.OK
        if not expected and response.status_code not in self.also:
            raise answers.response_error(response)
        try:
            return self.read(response.content)
        except ValueError as error:
            raise answers.response_error(response, odd=expected, reason=str(error)) from error


def _reader(kind: type[answers.T]) -> Callable[[bytes], answers.T]:
    return partial(answers.read, kind)


def _include(extra: str, wanted: bool) -> Mapping[str, str]:
    return {"include": extra} if wanted else {}


def predict(photo: Photo, *, evidence: bool = False) -> Call[answers.Verdict]:
    """Predict one image; its bytes go as they are, and without the file's name."""
    return Call("POST", "predict", _reader(answers.Verdict), [("file", photo)], _include("evidence", evidence))


def explain(photo: Photo, *, evidence: bool = False) -> Call[answers.Explanation]:
    """Predict one image and show which regions drove the verdict."""
    reader = _reader(answers.Explanation)
    return Call("POST", "predict/explain", reader, [("file", photo)], _include("evidence", evidence))


def compare(photo: Photo) -> Call[answers.Comparison]:
    """Predict one image by the live and by the shadow version of the model."""
    return Call("POST", "predict/compare", _reader(answers.Comparison), [("file", photo)])


def predict_batch(photos: Iterable[Photo]) -> Call[answers.BatchResult]:
    """Predict as many images as one request takes; a bad one fails alone."""
    files = [("files", photo) for photo in photos]
    return Call("POST", "predict/batch", partial(answers.read_batch, sent=len(files)), files)


def health(*, model: bool = False) -> Call[answers.Health]:
    """State of the service, also while no inference can be served."""
    return Call("GET", "health", _reader(answers.Health), params=_include("model", model), also=UNHEALTHY)


def ready() -> Call[bool]:
    """Whether an inference can be served now."""
    return Call("GET", "readyz", lambda body: answers.read(schemas.ReadyBody, body).ready, also=UNHEALTHY)


def alive() -> Call[bool]:
    """Whether the gateway lives; its model is not looked at."""
    return Call("GET", "healthz", lambda body: answers.read(schemas.AliveBody, body).alive)


def drift(*, histogram: bool = False) -> Call[answers.Drift]:
    """The newest predictions beside the model's reference."""
    return Call("GET", "drift", _reader(answers.Drift), params=_include("histogram", histogram))


def about() -> Call[answers.About]:
    """Name and version of the gateway; the model's version is in `health`."""
    return Call("GET", "", _reader(answers.About))


OnWait = Callable[[float, answers.GatewayError], None]
"""Is told before each wait how long it is, and why."""


class Options(TypedDict, total=False):
    """How images are checked; explanations and evidence are asked for image by image."""

    batch_size: int | None
    """Images per request; None means 10, or as many as the gateway takes."""
    explain: bool
    evidence: bool
    patience_s: float
    """How long a batch that meets a rate, or a service that is away, is waited for: 120 s."""
    on_wait: OnWait | None


Content = bytes | answers.PhotoUnreadableError
Ask = Callable[[Call[Any]], Awaitable[Any]]


@dataclass
class Checking:
    """One run over any number of images, with `Options`; it remembers what it has learnt of the gateway.

    The gateway may be restarted, busy or slower than its rates allow meanwhile: such batches are sent again, and when
    patience is at an end their images have failed, not those of the next batch.
    """

    ask: Ask
    timeout_s: float
    batch_size: int | None = None
    explain: bool = False
    evidence: bool = False
    patience_s: float = 120.0
    on_wait: OnWait | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        self._size = 1 if self.explain or self.evidence else self.batch_size or BATCH_FILES
        self._single = self._size == 1
        self._hopeless = False  # patience ended, and nothing has come through since
        self._refused: answers.KeyRefusedError | None = None

    def batches(self, photos: Iterable[Photo]) -> Iterator[list[Content]]:
        """Read the images, as many at a time as one request takes."""
        held: list[Content] = []
        for photo in photos:
            if len(held) >= self._size:
                yield held
                held = []
            read = _read_or_error(photo)
            if held and sum(len(one) for one in [*held, read] if isinstance(one, bytes)) > BATCH_BYTES:
                yield held
                held = []
            held.append(read)
        if held:
            yield held

    async def predict(self, contents: Sequence[Content]) -> list[answers.Outcome]:
        """Predict a batch; verdicts and failures are one per image and in order."""
        outcomes: list[answers.Outcome | None]
        outcomes = [None if isinstance(one, bytes) else answers.Failure(one) for one in contents]
        # A call without an answer costs its timeout of the patience.
        patience = _Patience(0 if self._hopeless else self.patience_s, self.timeout_s)
        while pending := [place for place, outcome in enumerate(outcomes) if outcome is None]:
            found = await self._predict([one for place in pending if isinstance(one := contents[place], bytes)])
            trouble = next((one.error for one in found if isinstance(one, answers.Failure) and one.error.again), None)
            pause = patience.pause(trouble) if trouble else None
            for place, outcome in zip(pending, found, strict=True):
                outcomes[place] = None if pause is not None and _may_come(outcome) else outcome
            if trouble and pause is not None:
                if self.on_wait:
                    self.on_wait(pause, trouble)
                await asyncio.sleep(pause)
        return [outcome for outcome in outcomes if outcome is not None]

    async def _predict(self, images: list[bytes]) -> list[answers.Outcome]:
        if self._refused:
            return [answers.Failure(self._refused)] * len(images)
        outcomes: list[answers.Outcome]
        try:
            answer = await self.ask(self._call(images))
            outcomes = list(answer.results) if isinstance(answer, answers.BatchResult) else [answer]
        except answers.GatewayError as error:
            if len(images) > 1 and error.code in answers.TOO_MUCH:
                half = len(images) // 2
                if error.code == answers.TOO_MANY_FILES:
                    self._size = min(self._size, half)
                return await self._predict(images[:half]) + await self._predict(images[half:])
            self._refused = error if isinstance(error, answers.KeyRefusedError) else None
            outcomes = [answers.Failure(error)] * len(images)
        self._hopeless = all(_may_come(outcome) for outcome in outcomes)
        return outcomes

    def _call(self, images: Sequence[bytes]) -> Call[Any]:
        if self.explain:
            return explain(images[0], evidence=self.evidence)
        return predict(images[0], evidence=self.evidence) if self._single else predict_batch(images)


@dataclass
class _Patience:
    left_s: float
    timeout_s: float
    waits: int = 0

    def pause(self, error: answers.GatewayError) -> float | None:
        """Seconds to wait before the next attempt; None when there is to be none."""
        wished = error.retry_after_s
        pause = max(FIRST_WAIT_S, min(FIRST_WAIT_S * 2**self.waits, LONGEST_WAIT_S) if wished is None else wished)
        self.left_s -= pause + (self.timeout_s if isinstance(error, answers.ServiceSlowError) else 0)
        self.waits += 1
        return pause if self.left_s >= 0 else None


def _read_or_error(photo: Photo) -> Content:
    try:
        return content(photo)
    except answers.PhotoUnreadableError as error:
        return error


def _may_come(outcome: answers.Outcome) -> bool:
    return isinstance(outcome, answers.Failure) and outcome.error.again
