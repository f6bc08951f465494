"""The one deterministic path from a picture to a network input: validation, test, calibration and serving."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from handler.spec import ModelSpec

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""
Views = Sequence[torch.Tensor]
"""What the network sees of a picture: a tensor of shape (V, 3, side, side) for each size that its V views have."""
DETAIL_LONG_SIDE = 1024
"""Pixels; of a photo with a longer side the details show what a copy of this long side would."""


def view_boxes(width: int, height: int, spec: ModelSpec) -> list[Box]:
    """Return the squares that the network sees: the centred one of the shorter side, then details along the diagonal.

    Details are not scaled, so that they keep the fine traces that scaling destroys; of a photo that is smaller than
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


def to_views(image: Image.Image, spec: ModelSpec) -> Views:
    """Turn an RGB picture into normalised views, float32: the whole, and the details if there are any."""
    whole, *details = view_boxes(*image.size, spec)
    sizes = [(spec.input_size, [whole]), (spec.detail_size, details)]
    return [torch.stack([_view(image, box, side, spec) for box in boxes]) for side, boxes in sizes if boxes]


def normalise(view: Image.Image, spec: ModelSpec) -> torch.Tensor:
    """Turn an RGB picture of the network's size into a normalised float32 tensor of shape (3, height, width)."""
    pixels = torch.from_numpy(np.array(view, dtype=np.float32)).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    return ((pixels - mean) / std).contiguous()


def _view(image: Image.Image, box: Box, side: int, spec: ModelSpec) -> torch.Tensor:
    return normalise(image.resize((side, side), Image.Resampling.BICUBIC, box=box), spec)


def _square(width: int, height: int, side: float, place: float) -> Box:
    """Return a square on the photo's diagonal, at a share of the room that it has; 0.5 is the centre."""
    left, top = (width - side) * place, (height - side) * place
    if side == round(side):  # whole pixels, or a view at native resolution would be blurred by half a pixel
        left, top = int(left), int(top)
    return left, top, left + side, top + side
