"""A photo as callers have it: its bytes, a path to them, or an open binary file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from gateway.client.errors import PhotoUnreadableError


class BinaryFile(Protocol):
    """Anything that is read like a file opened with "rb"."""

    def read(self) -> bytes:
        """Return all that is left."""


Photo = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryFile


def content(photo: Photo) -> bytes:
    """Return a photo's bytes as they are; a text is a path.

    Raises:
        PhotoUnreadableError: The file is not there or may not be read; the text has no path in it.
    """
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    try:
        data = Path(photo).read_bytes() if isinstance(photo, str | os.PathLike) else photo.read()
    except OSError as error:
        raise PhotoUnreadableError(error.strerror or "", code="unreadable") from error
    if not isinstance(data, bytes):
        raise TypeError('a photo\'s file must be opened for bytes: open(path, "rb")')
    return data


def try_content(photo: Photo) -> bytes | PhotoUnreadableError:
    """Return the bytes, or the reason why there are none."""
    try:
        return content(photo)
    except PhotoUnreadableError as error:
        return error
