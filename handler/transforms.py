"""The one deterministic path from a picture to a network input: validation, test, calibration and serving."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from handler.spec import ModelSpec


def view_box(width: int, height: int, crop_pct: float) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom), in pixels, of the centred square that the network sees."""
    side = crop_pct * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def to_tensor(image: Image.Image, spec: ModelSpec) -> torch.Tensor:
    """Turn an RGB picture into a normalised float32 tensor of shape (3, input_size, input_size)."""
    size = (spec.input_size, spec.input_size)
    view = image.resize(size, Image.Resampling.BICUBIC, box=view_box(*image.size, spec.crop_pct))
    return normalise(view, spec)


def normalise(view: Image.Image, spec: ModelSpec) -> torch.Tensor:
    """Turn an RGB picture of the network's size into a normalised float32 tensor of shape (3, height, width)."""
    pixels = torch.from_numpy(np.array(view, dtype=np.float32)).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    return ((pixels - mean) / std).contiguous()
