"""Which uploaded photos belong to which owner, so that none outlives its use."""

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path


class PhotoShelf:
    """Holds uploaded files by owner (a part of an open tab) and deletes those that nobody holds any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._photos: dict[str, set[Path]] = {}

    def keep(self, owner: str, *photos: Path) -> None:
        """Remember the owner's photos in place of those before."""
        with self._lock:
            before = self._photos.pop(owner, set())
            if photos:
                self._photos[owner] = set(photos)
            self._delete_unused(before)

    def drop(self, owner: str) -> None:
        """Let go of all that the owner has."""
        self.keep(owner)

    def let_go(self, owner: str, photo: Path) -> None:
        """Let go of one of the owner's photos."""
        with self._lock:
            self._photos.get(owner, set()).discard(photo)
            self._delete_unused([photo])

    def holds(self, owner: str) -> bool:
        """Whether the owner has any photo here."""
        with self._lock:
            return bool(self._photos.get(owner))

    def touch(self, owner: str) -> None:
        """Make the owner's photos young again, so that the sweep leaves those of a long batch alone."""
        with self._lock:
            for photo in self._photos.get(owner, set()):
                with contextlib.suppress(OSError):
                    os.utime(photo)

    def _delete_unused(self, photos: Iterable[Path]) -> None:
        # The same photo in two tabs is one file: the last tab takes it away.
        for photo in set(photos).difference(*self._photos.values()):
            photo.unlink(missing_ok=True)
            # Gradio gives every upload a folder of its own, named by the file's hash.
            with contextlib.suppress(OSError):
                photo.parent.rmdir()
