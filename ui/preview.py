"""The reviewer's own photo, small and upright: under the heat map, and as a thumbnail; one at a time."""

import asyncio
import io
import math
import re
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, ImageOps

SIDE_MAX = 1024
THUMBNAIL_MAX = 96
FORMATS = ("JPEG", "PNG", "WEBP")
# Drawing is for the eye: what would take more memory, or more passes than cameras and editors write, has no preview.
DECODED_MAX_BYTES = 160_000_000
SCANS_MAX = 32
MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # those that segments begin with, and the end of the image
SCAN, END = b"\xff\xda", b"\xff\xd9"
# The sizes of many pictures at once add up, so all of them are drawn by one thread.
_DRAWING = ThreadPoolExecutor(1, "drawing")


class NoPreview(Exception):  # noqa: N818  # not a failure of the check: the verdict stands without it
    """The photo cannot be drawn here."""


async def drawn(photo: bytes, side_max: int = SIDE_MAX) -> bytes | None:
    """Draw a photo that has a verdict, when its turn comes; None where it cannot be drawn."""
    try:
        return await asyncio.get_running_loop().run_in_executor(_DRAWING, upright_jpeg, photo, side_max)
    except NoPreview:
        return None


def upright_jpeg(photo: bytes, side_max: int = SIDE_MAX) -> bytes:
    """Draw the photo the way its EXIF rotation says, transparency on white, no side longer than `side_max`."""
    try:
        with Image.open(io.BytesIO(photo), formats=FORMATS) as image:
            if _decoded_bytes(image) > DECODED_MAX_BYTES or (image.format == "JPEG" and _scans(photo) > SCANS_MAX):
                raise NoPreview
            image.draft("RGB", (side_max, side_max))
            image.thumbnail((side_max, side_max))
            return _jpeg(_on_white(ImageOps.exif_transpose(image)))
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        raise NoPreview from error


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


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()
