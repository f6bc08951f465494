"""Pictures at, and just past, the documented limits."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from io import BytesIO
from pathlib import Path

from PIL import Image

MIB = 1024 * 1024
ORIENTATION = 0x0112
TURN_RIGHT = 6


def photo(name: str = "coffee.png") -> bytes:
    """A real photograph that an installed package carries."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "data" / name).read_bytes()


def as_kind(kind: str, size: tuple[int, int] = (120, 80), mode: str = "RGB") -> bytes:
    """A plain picture in one of Pillow's formats."""
    buffer = BytesIO()
    Image.new(mode, size, "white").save(buffer, kind)
    return buffer.getvalue()


def padded(size: int) -> bytes:
    """A JPEG of exactly so many bytes; what lies behind its end marker is no part of the picture."""
    return as_kind("JPEG").ljust(size, b"\0")


def header_alone(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with no pixels behind it."""
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + _chunk(b"IDAT")
    )


def sideways(size: tuple[int, int]) -> bytes:
    """White above, black below once it is upright, but stored on its side with the EXIF flag that turns it."""
    width, height = size
    upright = Image.new("RGB", size, "black")
    upright.paste("white", (0, 0, width, height // 2))
    exif, buffer = Image.Exif(), BytesIO()
    exif[ORIENTATION] = TURN_RIGHT
    upright.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", exif=exif, quality=95)
    return buffer.getvalue()


def _chunk(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
