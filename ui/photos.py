"""Uploaded photos: the only way to one of them by what a browser names, and how long each of them stays."""

import asyncio
import contextlib
import io
import math
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
from PIL import Image, ImageOps

from gateway.client import PhotoUnreadableError

# A photo that nobody asks about is deleted after ten minutes, and so is an upload that broke off.
STAY_S = 600.0
OWNERS_MAX = 4096
# What a file and its folder take at least, however small the file; and the least that a form spends on a file.
FILE_BYTES = 8192
FORM_BYTES = 80
FILES_IN_FORM = 1000
SIDE_MAX = 1024
THUMBNAIL_MAX = 96
FORMATS = ("JPEG", "PNG", "WEBP")
# Drawing is for the eye: what would take more memory, or more passes than cameras and editors write, has no preview.
DECODED_MAX_BYTES = 160_000_000
SCANS_MAX = 32
MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # those that segments begin with, and the end of the image
SCAN, END = b"\xff\xda", b"\xff\xd9"
# The sizes of many images at once add up, so all of them are drawn by one thread.
_DRAWING = ThreadPoolExecutor(1, "drawing")


class NoRoom(Exception):  # noqa: N818  # names what is wrong, like the page's other errors
    """The upload folder is full for now."""


def room_of(form_bytes: int) -> int:
    """The most room that the files in so much of a form take."""
    return form_bytes + min(form_bytes // FORM_BYTES, FILES_IN_FORM) * FILE_BYTES


class PhotoShelf:
    """Holds the files of the upload folder by owner (a part of an open tab) and deletes those that nobody holds."""

    def __init__(self, folder: Path, photo_max_bytes: int, total_max_bytes: int) -> None:
        self._folder = folder
        self._photo_max = photo_max_bytes
        self._total_max = total_max_bytes
        self._lock = threading.Lock()
        self._photos: dict[str, set[Path]] = {}
        self._taken = 0
        self._coming = 0

    def find(self, upload: object) -> Path:
        """Return the uploaded file that a browser names.

        Raises:
            gr.Error: It names something else, whether that is there or not.
            PhotoUnreadableError: The upload is not here any more.
        """
        named = upload.get("path") if isinstance(upload, dict) else None
        # Told by its name alone, so that nothing outside the folder is even looked at.
        path = Path(os.path.normpath(named)) if isinstance(named, str) else Path()
        if path.parent.parent != self._folder:
            raise gr.Error("This photo was not uploaded to this page.", print_exception=False)
        try:
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_size <= self._photo_max and path.resolve() == path:
                return path
        except (OSError, ValueError) as error:  # a name may hold what no file's name can
            raise PhotoUnreadableError from error
        raise PhotoUnreadableError

    def keep(self, owner: str, *photos: Path) -> None:
        """Remember the owner's photos in place of those before."""
        with self._lock:
            before = self._photos.pop(owner, set())
            if photos:
                self._photos[owner] = set(photos)
            if len(self._photos) > OWNERS_MAX:
                before |= self._photos.pop(next(iter(self._photos)))
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

    def sweep(self, stay_s: float = STAY_S) -> None:
        """Delete what has been here for too long."""
        oldest = time.time() - stay_s
        for path, found in self._files():
            if found.st_mtime < oldest:
                with contextlib.suppress(OSError):  # a folder that is not empty stays
                    path.rmdir() if stat.S_ISDIR(found.st_mode) else path.unlink()
        with self._lock:
            self._photos = {
                owner: left for owner, held in self._photos.items() if (left := set(filter(Path.is_file, held)))
            }

    def recount(self) -> None:
        """Recount the folder when it may be nearly full; uploads in progress then briefly count twice."""
        with self._lock:
            if self._taken + self._coming > self._total_max // 2:
                self._taken = sum(found.st_size + FILE_BYTES // 2 for _, found in self._files())

    def reserve(self, size: int) -> int:
        """Set aside so much room for an upload, and return it; `release` ends that.

        Raises:
            NoRoom: There is none.
        """
        free = shutil.disk_usage(self._folder).free
        with self._lock:
            if size > min(self._total_max - self._taken - self._coming, free):
                raise NoRoom
            self._coming += size
        return size

    def release(self, reserved: int) -> None:
        """Count what was reserved as taken: the upload has ended."""
        with self._lock:
            self._coming -= reserved
            self._taken += reserved

    def _delete_unused(self, photos: Iterable[Path]) -> None:
        # The same photo in two tabs is one file: the last tab takes it away.
        for photo in set(photos).difference(*self._photos.values()):
            with contextlib.suppress(OSError, PhotoUnreadableError, gr.Error):
                self.find({"path": str(photo)}).unlink()
                # Gradio gives every upload a folder of its own, named by the file's hash.
                photo.parent.rmdir()

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """All that is in the folder, what is inside before what is around it."""
        for around, folders, files in os.walk(self._folder, topdown=False):
            for name in files + folders:
                path = Path(around, name)
                with contextlib.suppress(OSError):
                    yield path, path.lstat()


async def drawn(photo: bytes, side_max: int = SIDE_MAX) -> bytes | None:
    """Draw a photo that has a verdict, when its turn comes; None where it cannot be drawn."""
    return await asyncio.get_running_loop().run_in_executor(_DRAWING, upright_jpeg, photo, side_max)


def upright_jpeg(photo: bytes, side_max: int = SIDE_MAX) -> bytes | None:
    """Draw the photo the way its EXIF rotation says, transparency on white, no side longer than `side_max`."""
    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(photo), formats=FORMATS) as image:
            if _decoded_bytes(image) > DECODED_MAX_BYTES or (image.format == "JPEG" and _scans(photo) > SCANS_MAX):
                return None
            image.draft("RGB", (side_max, side_max))
            image.thumbnail((side_max, side_max))
            _on_white(ImageOps.exif_transpose(image)).save(out, "JPEG", quality=88)
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
        return None
    return out.getvalue()


def _decoded_bytes(image: Image.Image) -> int:
    """How much memory decoding takes, as the header tells."""
    pixels = math.prod(image.size)
    if image.format == "JPEG":  # drawn small from the start, but libjpeg keeps all of a progressive one
        return pixels * 2 * len(image.getbands()) if image.info.get("progressive") else pixels // 4
    if image.format == "WEBP":  # two canvases, their copy and the image
        return pixels * 16
    return pixels * (8 if image.has_transparency_data else 4)  # Pillow shrinks a copy that has its alpha multiplied


def _scans(jpeg: bytes) -> int:
    count, place = 0, 2
    while (found := MARKER.search(jpeg, place)) and found.group() != END:
        count += found.group() == SCAN
        place = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2])
    return count


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    paper = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(paper, layer).convert("RGB")


def tab_of(request: gr.Request) -> str:
    """The open browser tab."""
    return request.session_hash or ""


def caller_of(request: gr.Request) -> str:
    """The reviewer's address, for the gateway's rates."""
    return request.client.host if request.client else ""


def key_of(key: object) -> str:
    """The API key in the page's field."""
    return key if isinstance(key, str) else ""


def size_of(photo: Path) -> int:
    """How large a file is; nothing where it is gone."""
    return photo.stat().st_size if photo.is_file() else 0
