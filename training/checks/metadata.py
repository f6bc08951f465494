"""What an image's container reveals without its content, as numbers."""

from __future__ import annotations

import io
import math
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

NAMES = (
    "log_file_size",
    "width",
    "height",
    "log_aspect",
    "bits_per_pixel",
    "is_jpeg",
    "is_png",
    "is_webp",
    "channels",
    "is_progressive",
    "subsampling",
    "quantisation_tables",
    "luma_quantisation",
    "chroma_quantisation",
)
CONTENT = ("log_file_size", "bits_per_pixel")
"""Features that follow from what is in the image where every image is saved alike."""
ABSENT = -1.0
"""What a feature of JPEG alone is for other formats."""


def features(data: bytes) -> NDArray[np.float64]:
    """Return the features called NAMES, shape (14,), from the file's header; no pixel is decoded.

    Raises:
        OSError: Not an image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong with a picture is another check's matter
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            general = [
                math.log(len(data)),
                width,
                height,
                math.log(width / height),
                8 * len(data) / (width * height),
                *(float(image.format == name) for name in ("JPEG", "PNG", "WEBP")),
                len(image.getbands()),
                float(bool(image.info.get("progressive"))),
            ]
            return np.array([*general, *_coding(image)], dtype=np.float64)


def without_content(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an image's features without those of CONTENT."""
    return row[[name not in CONTENT for name in NAMES]]


def _coding(image: Image.Image) -> list[float]:
    """Chroma subsampling (0: 4:4:4, 1: 4:2:2, 2: 4:2:0), number of quantisation tables, sums of the first two."""
    tables = getattr(image, "quantization", None)
    if not tables:
        return [ABSENT] * 4
    sums = [float(sum(tables[key])) for key in sorted(tables)]
    return [float(JpegImagePlugin.get_sampling(image)), len(sums), sums[0], sums[1] if len(sums) > 1 else ABSENT]
