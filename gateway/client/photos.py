"""A photo as callers have it: its bytes, a path to them, or an open binary file."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar

from gateway.client.errors import PhotoUnreadableError


class BinaryFile(Protocol):
    """Anything that is read like a file opened with "rb"."""

    def read(self) -> bytes:
        """Return all that is left."""


T = TypeVar("T")
KINDS: Final = 'a photo is its bytes, a path, or a file opened with "rb"'
TEXT: Final = 'a photo\'s file must be opened for bytes: open(path, "rb")'

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
