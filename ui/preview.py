"""The reviewer's own photo, small and upright, to stand beside the heat map."""

import io

from PIL import Image, ImageOps

SIDE_MAX = 1024
FORMATS = ("JPEG", "PNG", "WEBP")


class NoPreview(Exception):  # noqa: N818  # not a failure of the check: the verdict stands without it
    """The photo cannot be drawn here."""


def upright_jpeg(photo: bytes) -> bytes:
    """Draw the photo the way its EXIF rotation says, transparency on white, long side at most 1024 pixels."""
    try:
        with Image.open(io.BytesIO(photo), formats=FORMATS) as image:
            image.draft("RGB", (SIDE_MAX, SIDE_MAX))
            return _jpeg(_on_white(ImageOps.exif_transpose(image)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise NoPreview from error


def _on_white(image: Image.Image) -> Image.Image:
    image.thumbnail((SIDE_MAX, SIDE_MAX))
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    paper = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(paper, layer).convert("RGB")


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()
