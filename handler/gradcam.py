"""Grad-CAM: which regions drove the verdict, as a map and as a picture over the photo."""

from __future__ import annotations

import io

import numpy as np
import torch
from captum.attr import LayerGradCam
from PIL import Image, ImageOps
from torch import nn

from handler.network import cam_layer
from handler.transforms import view_box

OVERLAY_LONG_SIDE = 512
"""Pixels; a smaller photo keeps its size."""
OVERLAY_OPACITY = 0.6
JPEG_QUALITY = 88


def heat_maps(model: nn.Module, inputs: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Return Grad-CAM maps in 0..1 of what spoke for each verdict (Selvaraju et al. 2017, arXiv 1610.02391).

    Args:
        model: A network with one logit, in eval mode.
        inputs: Normalised pictures, shape (N, 3, H, W).
        positive: Bool of shape (N,): whether the verdict was the positive class; for the negative class the logit's
            sign is turned, so that the map always shows the evidence for the verdict given.

    Returns:
        Shape (N, h, w), each scaled by its own maximum; all zeros where no region spoke for the verdict.
    """
    with torch.enable_grad():
        raw = LayerGradCam(model, cam_layer(model)).attribute(inputs, target=0)
    signed = torch.where(positive.view(-1, 1, 1), raw[:, 0], -raw[:, 0]).detach()
    maps = signed.clamp(min=0)
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def overlay(image: Image.Image, heat: torch.Tensor, crop_pct: float) -> bytes:
    """Return a JPEG of the photo with the map over the square that the network saw; long side at most 512 px."""
    photo = ImageOps.contain(image, (OVERLAY_LONG_SIDE,) * 2) if max(image.size) > OVERLAY_LONG_SIDE else image.copy()
    left, top, right, _ = view_box(*photo.size, crop_pct)
    side = max(1, round(right - left))
    levels = Image.fromarray((heat.numpy(force=True) * 255).astype(np.uint8))
    levels = levels.resize((side, side), Image.Resampling.BICUBIC)
    colours = ImageOps.colorize(levels, black="blue", mid="yellow", white="red")
    photo.paste(colours, (round(left), round(top)), mask=levels.point(lambda level: level * OVERLAY_OPACITY))
    out = io.BytesIO()
    photo.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
