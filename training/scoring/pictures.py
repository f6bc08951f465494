"""Files as images: which ones are, and what the network sees of them."""

from __future__ import annotations

import os
import stat
from errno import EINVAL
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image

from handler.images import FORMATS, BadImageError, decode
from handler.spec import ModelSpec
from handler.transforms import Pixels, to_pixels

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"})
UNREADABLE: Final = "unreadable_file"
"""The code of a file that is not there or cannot be read; all others are those of the service."""
SIGNATURE_BYTES: Final = 16


def is_picture(file: Path) -> bool:
    """Decide by the name, else by the first bytes; a broken image with the right name counts, to be reported."""
    if file.suffix.lower() in SUFFIXES:
        return True
    try:
        with _opened(file) as opened:
            return _begins_as_picture(opened.read(SIGNATURE_BYTES))
    except OSError:
        return False


def read_pixels(file: Path, spec: ModelSpec) -> Pixels | str:
    """Return what the network sees of a file, as serving has it, or the code of why it cannot be decoded."""
    try:
        return to_pixels(decode(_read(file)), spec)
    except BadImageError as error:
        return error.code
    except (OSError, ValueError):  # a name with a null byte is a ValueError
        return UNREADABLE


def _read(file: Path) -> bytes:
    with _opened(file) as opened:
        head = opened.read(SIGNATURE_BYTES)
        return head + opened.read() if _begins_as_picture(head) else head  # a film need not be read to be refused


def _opened(file: Path) -> BinaryIO:
    """Open a file; a pipe or a device has no end, and opening one may take for ever."""
    opened = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError(EINVAL, "not a regular file", str(file))
    return opened


def _begins_as_picture(head: bytes) -> bool:
    Image.init()
    accepts = (Image.OPEN[name][1] for name in FORMATS)
    return any(accept is not None and accept(head) for accept in accepts)
