"""Small photos in the formats that the page takes."""

import io
from pathlib import Path

import skimage
from PIL import Image

from tests.ui.fakes import jpeg

COFFEE = Path(skimage.__file__).parent / "data" / "coffee.png"
ROTATED_RIGHT = 6


def scene(width: int, height: int) -> Image.Image:
    image = Image.radial_gradient("L").resize((width, height))
    return Image.merge("RGB", (image, image.rotate(180), Image.new("L", image.size, 90)))


def plain_jpeg() -> bytes:
    return jpeg(scene(320, 240), quality=77)


def many_jpegs(count: int) -> dict[str, bytes]:
    """Different photos with names in order."""
    base = scene(120, 90)
    return {f"photo {number:03}.jpg": jpeg(base.rotate(number), quality=60) for number in range(count)}


def rotated_jpeg(width: int, height: int) -> bytes:
    """A photo stored `width` by `height` and shown the other way round."""
    exif = Image.Exif()
    exif[0x0112] = ROTATED_RIGHT
    return jpeg(scene(width, height), exif=exif)


def clear_png(width: int, height: int) -> bytes:
    image = scene(width, height).convert("RGBA")
    image.putalpha(0)
    return _saved(image, "PNG")


def webp() -> bytes:
    return _saved(scene(200, 260), "WEBP")


def flat(side: int, kind: str, mode: str) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (side, side)).save(out, kind, **({"compress_level": 1} if kind == "PNG" else {"method": 0}))
    return out.getvalue()


def scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    whole = jpeg(scene(2000, 2000), progressive=True, quality=30)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * count + whole[-2:]


def _saved(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()
