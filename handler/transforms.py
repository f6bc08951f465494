"""The one deterministic path from a picture to a network input: validation, test, calibration and serving."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from handler.spec import ModelSpec

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""
DETAIL_LONG_SIDE = 1024
"""Pixels; of a photo with a longer side the detail view shows what a copy of this long side would."""


def view_boxes(width: int, height: int, spec: ModelSpec) -> list[Box]:
    """Return the centred squares that the network sees: the whole shorter side and, if asked for, its details.

    The detail view is not scaled, so that it keeps the fine traces that scaling destroys; a photo that is smaller than
    the network's input is shown larger, one that is longer than 1,024 px smaller.
    """
    shorter = min(width, height)
    sides = [spec.crop_pct * shorter]
    if spec.detail_view:
        sides.append(min(shorter, spec.input_size * max(1, max(width, height) / DETAIL_LONG_SIDE)))
    return [_centred(width, height, side) for side in sides]


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


def _centred(width: int, height: int, side: float) -> Box:
    left, top = ((length - side) / 2 for length in (width, height))
    if side == round(side):  # whole pixels, or a view at native resolution would be blurred by half a pixel
        left, top = int(left), int(top)
    return left, top, left + side, top + side
