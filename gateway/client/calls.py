"""Every call of the API without its I/O: what is sent, and what is made of the answer."""

import inspect
import json
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import httpx

from gateway.client import answers
from gateway.client.errors import KeyRefusedError, PhotoUnreadableError, item_error, response_error

T = TypeVar("T")
EVIDENCE: Final = "evidence"
HISTOGRAM: Final = "histogram"
MODEL: Final = "model"
KINDS: Final = 'a photo is its bytes, a path, or a file opened with "rb"'
TEXT: Final = 'a photo\'s file must be opened for bytes: open(path, "rb")'
URL: Final = "http://127.0.0.1:8080"
TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 5.0
USER_AGENT: Final = "product-photo-client"
# The second brings an error's stable code.
ACCEPT: Final = "application/json, application/problem+json"


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the reader of its answer; `also` are statuses whose body is the answer, beside 200."""

    method: str
    path: str
    read: Callable[[object], T]
    files: Sequence[tuple[str, bytes]] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    also: frozenset[int] = frozenset()

    def arguments(self) -> dict[str, Any]:
        """What httpx wants of it."""
        # The files' own names stay here: the gateway needs none, and a name can tell more than its photo.
        files = [(name, ("photo", data, "application/octet-stream")) for name, data in self.files]
        return {"method": self.method, "url": self.path, "params": self.params, "files": files or None}

    def answer(self, response: httpx.Response) -> T:
        """Read the answer.

        Raises:
            GatewayError: It is a refusal, or nothing that the API knows.
        """
        expected = response.status_code == httpx.codes.OK
        if not expected and response.status_code not in self.also:
            raise response_error(response)
        try:
            return self.read(json.loads(response.content))
        except (ValueError, OverflowError, RecursionError) as error:
            raise response_error(response, odd=expected, reason=str(error)) from error


def predict(photo: bytes, *, evidence: bool) -> Call[answers.Verdict]:
    """Judge one photo."""
    return Call("POST", "predict", _reader(answers.Verdict), [("file", photo)], _include(EVIDENCE, evidence))


def explain(photo: bytes, *, evidence: bool) -> Call[answers.Explanation]:
    """Judge one photo and show which regions drove the verdict."""
    return Call(
        "POST", "predict/explain", _reader(answers.Explanation), [("file", photo)], _include(EVIDENCE, evidence)
    )


def compare(photo: bytes) -> Call[answers.Comparison]:
    """Judge one photo by the live and by the shadow version."""
    return Call("POST", "predict/compare", _reader(answers.Comparison), [("file", photo)])


def predict_batch(photos: Sequence[bytes]) -> Call[answers.BatchResult]:
    """Judge several photos in one request."""

    def read_batch(body: object) -> answers.BatchResult:
        return _batch(body, len(photos))

    return Call("POST", "predict/batch", read_batch, [("files", photo) for photo in photos])


def health(*, model: bool) -> Call[answers.Health]:
    """State of the service; 503 has the same body."""
    return Call("GET", "health", _reader(answers.Health), params=_include(MODEL, model), also=frozenset({503}))


def ready() -> Call[bool]:
    """Whether an inference can be served now."""
    return Call("GET", "readyz", lambda body: answers.read(_Ready, body).ready, also=frozenset({503}))


def alive() -> Call[bool]:
    """Whether the gateway lives."""
    return Call("GET", "healthz", lambda body: answers.read(_Alive, body).alive)


def drift(*, histogram: bool) -> Call[answers.Drift]:
    """The newest predictions beside the model's reference."""
    return Call("GET", "drift", _reader(answers.Drift), params=_include(HISTOGRAM, histogram))


def about() -> Call[answers.About]:
    """Name, version and links."""
    return Call("GET", "", _reader(answers.About))


@dataclass(frozen=True)
class _Ready:
    ready: bool


@dataclass(frozen=True)
class _Alive:
    alive: bool


@dataclass(frozen=True)
class _Item:
    prediction: answers.Prediction | None
    probability: float | None
    confidence: answers.Confidence | None
    error: str | None


@dataclass(frozen=True)
class _Batch:
    results: tuple[_Item, ...]
    total: int
    successful: int
    failed: int
    total_inference_time_ms: float
    model_version: str | None


def _batch(body: object, sent: int) -> answers.BatchResult:
    found = answers.read(_Batch, body)
    if len(found.results) != sent:
        raise ValueError("results does not have one entry per image")
    return answers.BatchResult(
        results=tuple(_outcome(item, found.model_version) for item in found.results),
        total=found.total,
        successful=found.successful,
        failed=found.failed,
        total_inference_time_ms=found.total_inference_time_ms,
        model_version=found.model_version,
    )


def _outcome(item: _Item, model_version: str | None) -> answers.Outcome:
    if item.error is not None:
        return answers.Failure(item_error(item.error))
    if item.prediction is None or item.probability is None or item.confidence is None or model_version is None:
        raise ValueError("a result is neither a verdict nor an error")
    return answers.Verdict(
        prediction=item.prediction,
        probability=item.probability,
        confidence=item.confidence,
        inference_time_ms=None,
        model_version=model_version,
    )


def _reader(kind: type[T]) -> Callable[[object], T]:
    return lambda body: answers.read(kind, body)


def _include(extra: str, wanted: bool) -> Mapping[str, str]:
    return {"include": extra} if wanted else {}


class BinaryFile(Protocol):
    """Anything that is read like a file opened with "rb"."""

    def read(self) -> bytes:
        """Return all that is left."""


Photo = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryFile


def content(photo: Photo) -> bytes:
    """Return a photo's bytes as they are; a text is a path.

    Raises:
        PhotoUnreadableError: The file is not there, is a folder, is closed, was read already or may not be read.
        TypeError: The program gave something else than a photo's file, such as its pixels or a file opened for text.
    """
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    if isinstance(photo, str | os.PathLike):
        return _read(Path(photo).read_bytes)
    read = getattr(photo, "read", None)
    if not callable(read):
        raise TypeError(f"{KINDS}, not {type(photo).__name__}.{_hint(photo)}")
    data = _read(read, closed=getattr(photo, "closed", False) is True)
    if not isinstance(data, bytes):
        if inspect.iscoroutine(data):
            data.close()
            raise TypeError(f"{KINDS}. For an async file, pass the bytes: await file.read()")
        raise TypeError(TEXT)
    if not data and _position(photo) > 0:
        raise _unreadable("The file was read to its end already: call its seek(0) first")
    return data


def try_content(photo: Photo) -> bytes | PhotoUnreadableError:
    """Return the bytes, or the reason why there are none."""
    try:
        return content(photo)
    except PhotoUnreadableError as error:
        return error


def _read(read: Callable[[], T], *, closed: bool = False) -> T:
    if closed:
        raise _unreadable("The file is closed: open it again, or pass its path")
    try:
        return read()
    except IsADirectoryError as error:
        raise _unreadable("It is a folder: pass its files one by one") from error
    except UnicodeDecodeError as error:
        raise TypeError(TEXT) from error
    except (OSError, ValueError) as error:  # a path may have a character that no path can have
        raise _unreadable(getattr(error, "strerror", None) or str(error)) from error


def _unreadable(reason: str) -> PhotoUnreadableError:
    return PhotoUnreadableError(reason, code="unreadable")


def _hint(photo: object) -> str:
    package = type(photo).__module__.partition(".")[0]
    if package in {"PIL", "numpy", "torch", "cv2"}:
        return " Pass the path or the bytes of the original file: re-encoded pixels are a different file."
    return ""


def _position(photo: object) -> int:
    try:
        position = photo.tell()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):  # a stream knows none
        return 0
    return position if isinstance(position, int) else 0


def options(url: str, timeout_s: float, user_agent: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the arguments of an httpx client.

    Raises:
        ValueError: The address is none.
    """
    return {
        "base_url": _address(url),
        "timeout": httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
        "headers": {"Accept": ACCEPT, "User-Agent": user_agent, **(headers or {})},
        # The machine's own certificates, and no proxy: a photo goes to the gateway and nowhere else.
        "verify": ssl.create_default_context(),
        "trust_env": False,
    }


def identity(api_key: str, caller: str) -> dict[bytes, bytes]:
    """Return the headers that say who asks.

    Raises:
        KeyRefusedError: The key cannot be sent.
    """
    key = api_key.strip()
    if not key.isprintable():
        raise KeyRefusedError("It contains characters that no key can have.", code="unauthorized")
    sent = {b"X-API-Key": key.encode(), b"X-Forwarded-For": caller.encode()}
    return {name: value for name, value in sent.items() if value}


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL("")
    if address.scheme not in {"http", "https"} or not address.host:
        raise ValueError("not an address of a gateway: write it like http://127.0.0.1:8080")
    return address
