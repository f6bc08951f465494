"""Every call of the API without its I/O: what is sent, and what is made of the answer."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import httpx

from gateway import schemas
from gateway.client import answers
from gateway.client.errors import KeyRefusedError, PhotoUnreadableError, response_error

T = TypeVar("T")
KINDS: Final = 'an image is the bytes of its file, a path, or a file opened for bytes: open(path, "rb")'
UNHEALTHY: Final = frozenset({httpx.codes.SERVICE_UNAVAILABLE})


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the reader of its answer; `also` are statuses whose body is the answer, beside 200."""

    method: str
    path: str
    read: Callable[[bytes], T]
    files: Sequence[tuple[str, bytes]] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    also: frozenset[int] = frozenset()

    def arguments(self) -> dict[str, Any]:
        """What httpx wants of it."""
        # The files' own names stay here: the gateway needs none, and a name can tell more than its image.
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
            return self.read(response.content)
        except ValueError as error:
            raise response_error(response, odd=expected, reason=str(error)) from error


def predict(image: bytes, *, evidence: bool) -> Call[answers.Verdict]:
    """Predict one image."""
    return Call("POST", "predict", _reader(answers.Verdict), [("file", image)], _include("evidence", evidence))


def explain(image: bytes, *, evidence: bool) -> Call[answers.Explanation]:
    """Predict one image and show which regions drove the verdict."""
    return Call(
        "POST", "predict/explain", _reader(answers.Explanation), [("file", image)], _include("evidence", evidence)
    )


def compare(image: bytes) -> Call[answers.Comparison]:
    """Predict one image by the live and by the shadow version."""
    return Call("POST", "predict/compare", _reader(answers.Comparison), [("file", image)])


def predict_batch(images: Sequence[bytes]) -> Call[answers.BatchResult]:
    """Predict several images in one request."""
    read = partial(answers.read_batch, sent=len(images))
    return Call("POST", "predict/batch", read, [("files", image) for image in images])


def health(*, model: bool) -> Call[answers.Health]:
    """State of the service; 503 has the same body."""
    return Call("GET", "health", _reader(answers.Health), params=_include("model", model), also=UNHEALTHY)


def ready() -> Call[bool]:
    """Whether an inference can be served now."""
    return Call("GET", "readyz", lambda body: answers.read(schemas.ReadyBody, body).ready, also=UNHEALTHY)


def alive() -> Call[bool]:
    """Whether the gateway lives."""
    return Call("GET", "healthz", lambda body: answers.read(schemas.AliveBody, body).alive)


def drift(*, histogram: bool) -> Call[answers.Drift]:
    """The newest predictions beside the model's reference."""
    return Call("GET", "drift", _reader(answers.Drift), params=_include("histogram", histogram))


def about() -> Call[answers.About]:
    """Name, version and links."""
    return Call("GET", "", _reader(answers.About))


def _reader(kind: type[answers.T]) -> Callable[[bytes], answers.T]:
    return partial(answers.read, kind)


def _include(extra: str, wanted: bool) -> Mapping[str, str]:
    return {"include": extra} if wanted else {}


class BinaryFile(Protocol):
    """Anything that is read like a file opened with "rb"."""

    def read(self) -> bytes:
        """Return all that is left."""


Photo = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryFile


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
        raise PhotoUnreadableError(getattr(error, "strerror", None) or str(error), code="unreadable") from error
    if not isinstance(data, bytes):
        raise TypeError(f"{KINDS}; this one gives {type(data).__name__}")
    return data


def _read(photo: BinaryFile) -> object:
    if not callable(getattr(photo, "read", None)):
        raise TypeError(f"{KINDS}, not {type(photo).__name__}; pixels that are encoded again are a different file")
    return photo.read()


def try_content(photo: Photo) -> bytes | PhotoUnreadableError:
    """Return the bytes, or the reason why there are none."""
    try:
        return content(photo)
    except PhotoUnreadableError as error:
        return error


def identity(api_key: str, caller: str = "") -> dict[bytes, bytes]:
    """Return the headers that say who asks.

    Raises:
        KeyRefusedError: The key cannot be sent.
    """
    key = api_key.strip()
    if not key.isprintable():
        raise KeyRefusedError("It contains characters that no key can have.", code="unauthorized")
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
