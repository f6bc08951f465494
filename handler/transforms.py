"""The one deterministic path from an image to a network input: validation, test, calibration and serving."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from handler.spec import ModelSpec

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""
Views = Sequence[torch.Tensor]
"""What the network sees of an image: a tensor of shape (V, 3, side, side) for each size that its V views have."""
Pixels = Sequence[torch.Tensor]
"""The same before normalisation: for each size a uint8 tensor of shape (V, side, side, 3)."""
DETAIL_LONG_SIDE = 1024
"""Pixels; of an image with a longer side the details show what a copy of this long side would."""


def view_boxes(width: int, height: int, spec: ModelSpec) -> list[Box]:
    """Return the squares that the network sees: the centred one of the shorter side, then details along the diagonal.

    Details are not scaled, so that they keep the fine traces that scaling destroys; of an image that is smaller than
    they are they are shown larger, of one that is longer than 1,024 px smaller. Their places divide the diagonal
    evenly: a single detail is the centre, of two each is halfway between the centre and a corner.
    """
    shorter = min(width, height)
    side = min(shorter, spec.detail_size * max(1, max(width, height) / DETAIL_LONG_SIDE))
    places = [(2 * step + 1) / (2 * spec.details) for step in range(spec.details)]
    return [
        _square(width, height, spec.crop_pct * shorter, 0.5),
        *(_square(width, height, side, place) for place in places),
    ]


def to_pixels(image: Image.Image, spec: ModelSpec) -> Pixels:
    """Cut and scale an RGB image to what the network sees: the whole, and the details if there are any."""
    whole, *details = view_boxes(*image.size, spec)
    sizes = [(spec.input_size, [whole]), (spec.detail_size, details)]
    return [torch.stack([_view(image, box, side) for box in boxes]) for side, boxes in sizes if boxes]


def to_views(image: Image.Image, spec: ModelSpec) -> Views:
    """Turn an RGB image into normalised views, float32: the whole, and the details if there are any."""
    return [normalise(alike, spec) for alike in to_pixels(image, spec)]


def as_pixels(image: Image.Image) -> torch.Tensor:
    """Return an RGB image as a uint8 tensor of shape (height, width, 3)."""
    return torch.from_numpy(np.array(image))


def normalise(pixels: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Turn uint8 pixels of shape (..., height, width, 3) into a normalised float32 tensor (..., 3, height, width)."""
    values = pixels.movedim(-1, -3).float() / 255
    mean, std = (values.new_tensor(channels).view(3, 1, 1) for channels in (spec.mean, spec.std))
    return ((values - mean) / std).contiguous()


def _view(image: Image.Image, box: Box, side: int) -> torch.Tensor:
    return as_pixels(image.resize((side, side), Image.Resampling.BICUBIC, box=box))


def _square(width: int, height: int, side: float, place: float) -> Box:
    """Return a square on the image's diagonal, at a share of the room that it has; 0.5 is the centre."""
    left, top = (width - side) * place, (height - side) * place
    if side == round(side):  # whole pixels, or a view at native resolution would be blurred by half a pixel
        left, top = int(left), int(top)
    return left, top, left + side, top + side
