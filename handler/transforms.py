"""The one deterministic path from a picture to a network input: validation, test, calibration and serving."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from handler.spec import ModelSpec

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""
DETAIL_LONG_SIDE = 1024
"""Pixels; of a photo with a longer side the details show what a copy of this long side would."""


def view_boxes(width: int, height: int, spec: ModelSpec) -> list[Box]:
    """Return the squares that the network sees: the centred one of the shorter side, then details row by row.

    Details are not scaled, so that they keep the fine traces that scaling destroys; of a photo that is smaller than the
    network's input they are shown larger, of one that is longer than 1,024 px smaller. The grid's places divide the
    photo evenly: a single detail is its centre, and of two by two each is halfway between the centre and a corner.
    """
    shorter = min(width, height)
    detail = min(shorter, spec.input_size * max(1, max(width, height) / DETAIL_LONG_SIDE))
    places = [(2 * step + 1) / (2 * spec.detail_grid) for step in range(spec.detail_grid)]
    details = [_square(width, height, detail, across, down) for down in places for across in places]
    return [_square(width, height, spec.crop_pct * shorter, 0.5, 0.5), *details]


def to_views(image: Image.Image, spec: ModelSpec) -> torch.Tensor:
    """Turn an RGB picture into normalised views, float32, shape (V, 3, input_size, input_size)."""
    size = (spec.input_size, spec.input_size)
    boxes = view_boxes(*image.size, spec)
    return torch.stack([normalise(image.resize(size, Image.Resampling.BICUBIC, box=box), spec) for box in boxes])


def normalise(view: Image.Image, spec: ModelSpec) -> torch.Tensor:
    """Turn an RGB picture of the network's size into a normalised float32 tensor of shape (3, height, width)."""
    pixels = torch.from_numpy(np.array(view, dtype=np.float32)).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    return ((pixels - mean) / std).contiguous()


def _square(width: int, height: int, side: float, across: float, down: float) -> Box:
    """Return a square at a place given as shares of the room that it has; 0.5 and 0.5 is the centre."""
    left, top = (width - side) * across, (height - side) * down
    if side == round(side):  # whole pixels, or a view at native resolution would be blurred by half a pixel
        left, top = int(left), int(top)
    return left, top, left + side, top + side
