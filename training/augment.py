"""Random views of training pictures: one pipeline for both classes, so that how it was saved tells none of them."""

from __future__ import annotations

import torch
from torchvision.transforms import InterpolationMode, v2

from handler.spec import ModelSpec
from training.params import AugmentParams


def training_transform(spec: ModelSpec, params: AugmentParams, size: int) -> v2.Transform:
    """Return a transform of an RGB picture to a normalised float32 tensor of shape (3, size, size)."""
    recompress = v2.JPEG((params.jpeg_quality_min, params.jpeg_quality_max))
    return v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomApply([recompress], p=params.recompress_probability),
            v2.RandomResizedCrop(
                size,
                scale=(params.crop_scale_min, 1.0),
                interpolation=InterpolationMode.BICUBIC,
                antialias=True,
            ),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.GaussianBlur(kernel_size=5, sigma=(0.1, 1.5))], p=params.blur_probability),
            v2.ToDtype(dtype=torch.float32, scale=True),
            v2.Normalize(spec.mean, spec.std),
        ]
    )
