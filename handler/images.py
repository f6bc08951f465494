"""Bytes to an upright sRGB image, or a BadImageError that says why not.

What looks the same in a browser comes out the same, whatever its format, profile, orientation or transparency. Serving
and training decode here alone.
"""

import ctypes
import hashlib
import io
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np
from PIL import Image, ImageChops
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from handler import colour
from handler.files import MAX_SCANNED_PIXELS, Parts, jpeg_parts, orientation, png_parts

FORMATS: Final = ("JPEG", "PNG", "WEBP")
"""What Pillow may recognise."""
MIN_SIDE: Final = 10
MAX_SIDE: Final = 10_000
MAX_PIXELS: Final = 50_000_000
"""Also of all images that are open at the same time in a process; a larger one is open alone."""
MOST_SIDE: Final = 65_535
MOST_PIXELS: Final = 200_000_000
"""What no limits go beyond, whoever sets them."""
BAND_PIXELS: Final = 1 << 20
"""Pixels that are converted at a time, so that no mode in between needs a copy of the whole image."""
LARGE_PIXELS: Final = 4_000_000
"""From here on an image's memory is given back to the system at once, which takes a millisecond."""

_TURN_BY_ORIENTATION: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_END_OF_JPEG: Final = b"\xff\xd9"
_NOISE: Final = hashlib.sha512(b"filling").digest()  # without a marker, and its first bits are not zeros
_FILLING: Final = b"".join(_NOISE + bytes([0xFF, 0xD0 + restart]) for restart in range(8))
"""What a decoder takes for pixels, wherever in the data of a scan it stands."""


@dataclass(frozen=True)
class Limits:
    """Sides and area in pixels that an image may have."""

    min_side: int = MIN_SIDE
    max_side: int = MAX_SIDE
    max_pixels: int = MAX_PIXELS


DEFAULT_LIMITS: Final = Limits()
BadImageCode = Literal["unsupported_format", "bad_dimensions", "too_many_pixels", "corrupt_image"]
T = TypeVar("T")


class BadImageError(Exception):
    """An image that cannot be predicted; `code` is what the answer carries."""

    def __init__(self, code: BadImageCode) -> None:
        super().__init__(code)
        self.code: BadImageCode = code


def decode(data: bytes | bytearray, shortest: int | None = None) -> Image.Image:
    """Decode the first frame of a JPEG, PNG or WebP: upright by EXIF, sRGB by its profile, on white, mode RGB.

    Args:
        data: The file.
        shortest: Pixels that the shorter side must keep; a JPEG is then decoded smaller, which is faster and takes
            less memory. Without it all pixels are kept.

    Raises:
        BadImageError: Not such an image, too small or large, a part of it missing, or corrupt.
    """
    return _upright(*_open(data), shortest)


def reduced(data: bytes | bytearray, reduce: Callable[[Image.Image], T], limits: Limits = DEFAULT_LIMITS) -> T:
    """Decode as `decode` does and return what `reduce` makes of the image, which it must not keep.

    Large images wait for each other: those open at a time in this process have at most MAX_PIXELS together, and their
    memory is given back.

    Raises:
        BadImageError: As of `decode`.
    """
    image, parts = _open(data, limits)
    pixels = image.width * image.height
    with _room.of(min(pixels, MAX_PIXELS)):
        try:
            return reduce(_upright(image, parts, None))
        finally:
            image.close()
            if pixels >= LARGE_PIXELS:
                _give_back_memory()


class _Room:
    """So many pixels that threads may have open at the same time."""

    def __init__(self, pixels: int) -> None:
        self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_room: Final = _Room(MAX_PIXELS)


def _give_back_memory() -> None:
    with suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _open(data: bytes | bytearray, limits: Limits = DEFAULT_LIMITS) -> tuple[ImageFile, Parts]:
    """Read the header, and check the size before anything is decoded.

    By Pillow's readers directly: `Image.open` would add a bomb check whose limit and warning are global to the process,
    and try MPO, a JPEG with a second image behind it.
    """
    image: ImageFile
    with _as_corrupt():
        if data[:3] == b"\xff\xd8\xff":
            parts = jpeg_parts(data)
            image = JpegImageFile(io.BytesIO(parts.data))
        elif data[:8] == b"\x89PNG\r\n\x1a\n":
            parts = png_parts(data)
            image = PngImageFile(io.BytesIO(parts.data))
        elif data[:4] + data[8:12] == b"RIFFWEBP":
            image = WebPImageFile(io.BytesIO(data))
            exif = image.info.get("exif", b"").removeprefix(b"Exif\0\0")
            parts = Parts(data, orientation(exif), image.info.get("icc_profile", b""))
        else:
            raise BadImageError("unsupported_format")
    width, height = image.size
    if min(width, height) < limits.min_side or max(width, height) > min(limits.max_side, MOST_SIDE):
        raise BadImageError("bad_dimensions")
    if width * height > min(limits.max_pixels, MOST_PIXELS):
        raise BadImageError("too_many_pixels")
    if parts.scans * width * height > MAX_SCANNED_PIXELS:
        raise BadImageError("corrupt_image")
    return image, parts


@contextmanager
def _as_corrupt() -> Iterator[None]:
    try:
        yield
    except (MemoryError, BadImageError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        raise BadImageError("corrupt_image") from error


def _upright(image: ImageFile, parts: Parts, shortest: int | None) -> Image.Image:
    with _as_corrupt():
        hole = _hole(image, parts)
        upright = _in_srgb(_pixels(image, parts, shortest), parts.profile, hole)
        turn = _TURN_BY_ORIENTATION.get(parts.orientation)
        return upright if turn is None else upright.transpose(turn)


def _pixels(image: ImageFile, parts: Parts, shortest: int | None) -> Image.Image:
    """Decode into the mode that the file has."""
    if isinstance(image, WebPImageFile):
        frame, *_ = image._get_next()  # noqa: SLF001 - its `load` would copy the frame while the decoder holds two more
        del image._decoder  # noqa: SLF001
        return Image.frombuffer(image.rawmode, image.size, frame, "raw", image.rawmode, 0, 1)
    return _loaded(image, shortest) if parts.has_end else _without_end(parts, shortest)


def _loaded(image: ImageFile, shortest: int | None) -> ImageFile:
    if shortest is not None:
        image.draft(None, (shortest, shortest))  # only the JPEG reader can
    image.load()
    return image


def _without_end(parts: Parts, shortest: int | None) -> Image.Image:
    """Return a JPEG that lacks its end, if no pixel depends on what would have followed.

    The decoder fills up what is missing and does not tell, so it is given two continuations. Zeros at the end either
    stand for the rest of a file that was never written, or are the last pixels of a plain ground: then none of them but
    those in place of the end can be spared.
    """

    def loaded(data: bytes | bytearray) -> ImageFile:
        return _loaded(JpegImageFile(io.BytesIO(data + _END_OF_JPEG)), shortest)

    data = parts.data
    bare = data.rstrip(b"\0")
    bare = bare + b"\0" if len(bare) < len(data) and bare[-1:] == b"\xff" else bare.rstrip(b"\xff")
    if parts.all_scans:
        expected = _digest(loaded(bare + _FILLING))
        image = loaded(bare)
        if _digest(image) == expected:
            return image
        if data[-1:] == b"\0":
            spared, expected = _digest(loaded(data[:-8])), _digest(loaded(data + _FILLING))
            image = loaded(data)
            if spared != _digest(image) == expected:
                return image
    raise OSError("a part of the image is missing")


def _digest(image: Image.Image) -> int:
    digest = 0
    for _, band in _bands(image):
        digest = zlib.crc32(band.tobytes(), digest)
    return digest


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield an image in bands of its full width, each with the row that it begins at."""
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _hole(image: ImageFile, parts: Parts) -> Image.Image | None:
    """Return a mask of the pixels that have a PNG's transparent colour, 255 for each."""
    if not parts.transparent:
        return None
    if parts.deep and image.mode == "RGB":  # Pillow has no deep RGB, but can be told to read the lower bytes
        lower = PngImageFile(io.BytesIO(parts.data))
        lower.tile = [lower.tile[0]._replace(args="RGB;16L")]
        lower.load()
        hole = _equal(lower, [level & 255 for level in parts.transparent])
        lower.close()
        image.load()
        return ImageChops.darker(hole, _equal(image, [level >> 8 for level in parts.transparent]))
    image.load()
    return _equal(image, parts.transparent)


def _equal(image: Image.Image, levels: Sequence[int]) -> Image.Image:
    mask = Image.new("L", image.size)
    for top, band in _bands(image):
        pixels = np.asarray(band.convert("L") if band.mode == "1" else band).reshape(band.height, band.width, -1)
        mask.paste(Image.fromarray((pixels == levels).all(axis=-1).astype(np.uint8) * 255), (0, top))
    return mask


def _in_srgb(image: Image.Image, profile: bytes, hole: Image.Image | None) -> Image.Image:
    """Return a decoded image in RGB and let go of its own pixels, unless they need no change."""
    if image.mode == "RGB" and hole is None and not colour.changes(profile, "RGB"):
        return image
    rgb = image if image.mode == "RGB" else Image.new("RGB", image.size)
    for top, band in _bands(image):
        box = (0, top, image.width, top + band.height)
        flat = colour.to_srgb(_without_alpha(band), profile)
        alpha = band.convert("RGBA").getchannel("A") if band.has_transparency_data else None
        if alpha is not None:
            flat = Image.composite(flat, Image.new("RGB", flat.size, "white"), alpha)
        if hole is not None:
            flat.paste("white", mask=hole.crop(box))
        rgb.paste(flat, box)
    if rgb is not image:
        image.close()
    return rgb


def _without_alpha(band: Image.Image) -> Image.Image:
    """Return a band in a mode that a profile may speak of."""
    match band.mode:
        case "1" | "LA":
            return band.convert("L")
        case mode if mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips instead of scaling
            return Image.fromarray((np.asarray(band) >> 8).astype(np.uint8))
        case "L" | "RGB" | "CMYK":
            return band
        case "P":
            return band.convert("RGBA").convert("RGB")  # Pillow warns of alpha in a palette that goes straight to RGB
        case _:
            return band.convert("RGB")
