"""Images to predict: a real photo, and files of all kinds made from arrays."""

import importlib.util
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.images import BadImageError, decode
from tests.handler.pngs import chunk

ORIENTATION = 0x0112
UPRIGHT_BY_ORIENTATION = {  # Exif 2.32, table of the tag: visual side of the stored row 0, and of the stored column 0
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def coffee() -> Path:
    """The photo of a cup that scikit-image ships, 600 x 400."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / "coffee.png"


def photo(width: int = 96, height: int = 64) -> Image.Image:
    return Image.open(coffee()).convert("RGB").resize((width, height))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - whatever Pillow's writers take
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(image: Image.Image) -> NDArray[np.int16]:
    return np.asarray(image).astype(np.int16)


def same(first: Image.Image, second: Image.Image) -> bool:
    return np.array_equal(pixels(first), pixels(second))


def difference(first: Image.Image, second: Image.Image) -> NDArray[np.int16]:
    distance: NDArray[np.int16] = np.abs(pixels(first) - pixels(second))
    return distance


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return exif


def stored_for(upright: Image.Image, value: int) -> Image.Image:
    """The picture as a camera stores it whose file then says how to turn it upright."""
    row, column = UPRIGHT_BY_ORIENTATION[value]
    stored = np.asarray(upright)
    if row in {"left", "right"}:
        stored = stored.swapaxes(0, 1)
    if row in {"right", "bottom"}:
        stored = stored[::-1]
    if column in {"right", "bottom"}:
        stored = stored[:, ::-1]
    return Image.fromarray(np.ascontiguousarray(stored))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    fields = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", fields) + chunk(b"IDAT", b"")


def verdict_on(data: bytes) -> str:
    """The code that a picture is refused with, or `ok`."""
    try:
        decode(data)
    except BadImageError as error:
        return error.code
    return "ok"
