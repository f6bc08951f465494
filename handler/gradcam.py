"""Grad-CAM: which regions drove the verdict, as a map and as a layer over the image.

The last feature maps come from the forward that gave the verdict, whatever engine ran it; Captum differentiates the
head alone, which is all that lies between them and the logit.
"""

import io
from collections.abc import Sequence

import numpy as np
import torch
from captum.attr import LayerGradCam
from PIL import Image, ImageDraw, ImageFont, ImageOps

from handler.heads import Head
from handler.transforms import Box

OVERLAY_LONG_SIDE = 512
"""Pixels; a smaller image keeps its size."""
OVERLAY_OPACITY = 0.6
LEAST_HEAT = 0.01
"""Of the logit; a map that reaches less is empty, and a colour for it would lie."""
EMPTY = "no region speaks for this verdict"
"""What an empty heat map says, over the image and as the comment of its JPEG."""
JPEG_QUALITY = 88


def heat_maps(head: Head, features: Sequence[torch.Tensor], *, positive: bool) -> list[torch.Tensor]:
    """Return Grad-CAM maps of what spoke for a verdict (Selvaraju et al. 2017, arXiv 1610.02391).

    Args:
        head: The network's own.
        features: Last feature maps of the image's views, of each size a shape (V, C, h, w).
        positive: Whether the verdict was the positive class; for the negative class the logit's sign is turned, so that
            the map always shows the evidence for the verdict given.

    Returns:
        Of each view a shape (h, w), not negative; all zeros where no region spoke for the verdict. All are on the scale
        of the logit: what it would be by this feature if the whole view looked like the region.
    """
    maps: list[torch.Tensor] = []
    for alike in features:
        with torch.enable_grad():
            raw = LayerGradCam(head, head.features).attribute(alike, target=0)[:, 0].detach()
        scaled = raw * raw[0].numel()  # the gradient is that of a mean over so many regions
        maps.extend((scaled if positive else -scaled).clamp(min=0))
    return maps


def small(image: Image.Image) -> Image.Image:
    """Return a copy of an image with a long side of at most 512 px, which is what its heat map is drawn over."""
    limit = (OVERLAY_LONG_SIDE,) * 2
    return ImageOps.contain(image, limit) if max(image.size) > OVERLAY_LONG_SIDE else image.copy()


def overlay(
    image: Image.Image, maps: Sequence[torch.Tensor], boxes: Sequence[Box], size: tuple[int, int] | None = None
) -> bytes:
    """Return a JPEG of the image with each view's map, shape (h, w), over what it saw; long side at most 512 px.

    Evidence adds where views overlap; the strongest region of the image has the hottest colour. Where there is none,
    the image stays as it is and says so. Of an image that is a small copy, `size` is that of the whole.
    """
    preview = small(image)
    found = heat(size or image.size, preview.size, maps, boxes)
    out = io.BytesIO()
    if found.max() < LEAST_HEAT:
        _caption(preview)
        preview.save(out, "JPEG", quality=JPEG_QUALITY, comment=EMPTY)
        return out.getvalue()
    levels = Image.fromarray((found / found.max() * 255).astype(np.uint8))
    colours = ImageOps.colorize(levels, black="blue", mid="yellow", white="red")
    preview.paste(colours, mask=levels.point(lambda level: level * OVERLAY_OPACITY))
    preview.save(out, "JPEG", quality=JPEG_QUALITY, comment="")  # not the image's own
    return out.getvalue()


def heat(
    size: tuple[int, int], shown: tuple[int, int], maps: Sequence[torch.Tensor], boxes: Sequence[Box]
) -> np.ndarray:
    """Return the sum of the views' maps at their places, float32, shape (height, width) of the image shown."""
    total = np.zeros(shown[::-1], dtype=np.float32)
    across, down = shown[0] / size[0], shown[1] / size[1]
    for box, view in zip(boxes, maps, strict=True):
        left, top, right, bottom = (round(edge * scale) for edge, scale in zip(box, (across, down) * 2, strict=True))
        view_size = (max(1, right - left), max(1, bottom - top))
        layer = Image.new("F", shown)
        layer.paste(
            Image.fromarray(view.float().numpy(force=True)).resize(view_size, Image.Resampling.BICUBIC), (left, top)
        )
        total += np.asarray(layer).clip(min=0)
    return total


def _caption(preview: Image.Image) -> None:
    """Write across the bottom, as large as it fits."""
    font = ImageFont.load_default(max(1, preview.width / 20))
    place = (preview.width / 2, preview.height - preview.width / 40)
    ImageDraw.Draw(preview).text(place, EMPTY, "white", font, anchor="mb", stroke_width=1, stroke_fill="black")
