"""The reviewer's own photo, small and upright: under the heat map, and as a thumbnail."""

import io

from PIL import Image, ImageOps

SIDE_MAX = 1024
THUMBNAIL_MAX = 96
FORMATS = ("JPEG", "PNG", "WEBP")


class NoPreview(Exception):  # noqa: N818  # not a failure of the check: the verdict stands without it
    """The photo cannot be drawn here."""


def upright_jpeg(photo: bytes, side_max: int = SIDE_MAX) -> bytes:
    """Draw the photo the way its EXIF rotation says, transparency on white, no side longer than `side_max`."""
    try:
        with Image.open(io.BytesIO(photo), formats=FORMATS) as image:
            image.draft("RGB", (side_max, side_max))
            image.thumbnail((side_max, side_max))
            return _jpeg(_on_white(ImageOps.exif_transpose(image)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise NoPreview from error


def thumbnail(photo: bytes) -> bytes | None:
    """Draw the photo very small; None where it cannot be drawn."""
    try:
        return upright_jpeg(photo, THUMBNAIL_MAX)
    except NoPreview:
        return None


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
