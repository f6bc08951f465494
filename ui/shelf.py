"""Which uploaded photo belongs to which open tab, so that none outlives its use."""

import contextlib
import threading
from pathlib import Path


class PhotoShelf:
    """Holds at most one uploaded file a tab and deletes the one that it lets go of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._photos: dict[str, Path] = {}

    def keep(self, tab: str, photo: Path) -> None:
        """Remember the tab's photo in place of the one before it."""
        with self._lock:
            before = self._photos.get(tab)
            self._photos[tab] = photo
            self._delete_unused(before)

    def drop(self, tab: str) -> None:
        """Delete the tab's photo, if it has one."""
        with self._lock:
            self._delete_unused(self._photos.pop(tab, None))

    def _delete_unused(self, photo: Path | None) -> None:
        # The same photo in two tabs is one file: the last tab takes it away.
        if photo is None or photo in self._photos.values():
            return
        photo.unlink(missing_ok=True)
        # Gradio gives every upload a folder of its own, named by the file's hash.
        with contextlib.suppress(OSError):
            photo.parent.rmdir()
