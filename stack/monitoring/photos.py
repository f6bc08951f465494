"""Photos for the demo, made of scikit-image's samples: some like the model's reference, some unlike it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps, ImageStat

from stack.demo import sample_photo

SAMPLES: Final = ("coffee", "chelsea", "astronaut", "coins", "camera", "motorcycle_left", "brick", "gravel", "rocket")
QUALITIES: Final = (35, 50, 65, 80, 90, 95)
ODD_SIDE: Final = 96


@dataclass(frozen=True)
class Reference:
    """Distribution of the images behind the model's reference."""

    inputs: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> Reference:
        """Read the file that ships with the model."""
        return cls(json.loads(file.read_text(encoding="utf-8"))["inputs"])

    def draw(self, name: str, share: float) -> float:
        """Return the value that this share of the images stays below."""
        quantiles = {float(at): value for at, value in self.inputs[name]["quantiles"].items()}
        return float(np.interp(share, list(quantiles), list(quantiles.values())))


def usual(reference: Reference, count: int) -> list[bytes]:
    """Crops of photos with the sizes, brightness and compression of the reference's images."""
    random, samples = Random(7), _samples()  # noqa: S311 - pictures, no secrets
    order = random.sample(range(count), count)
    return [
        _usual(samples[index % len(samples)], reference, (index + 0.5) / count, (order[index] + 0.5) / count, random)
        for index in range(count)
    ]


def odd(count: int) -> list[bytes]:
    """Tiny, blurred, pale crops: what a broken resizing step upstream might send."""
    random, samples = Random(8), _samples()  # noqa: S311 - pictures, no secrets
    return [_odd(samples[index % len(samples)], random) for index in range(count)]


def _usual(sample: Image.Image, reference: Reference, size: float, look: float, random: Random) -> bytes:
    side = round(reference.draw("width", size)), round(reference.draw("height", size))
    around = (random.random(), random.random())
    picture = ImageOps.fit(sample, side, bleed=random.uniform(0, 0.2), centering=around)
    brightness = max(1.0, ImageStat.Stat(picture.convert("L")).mean[0])
    picture = ImageEnhance.Brightness(picture).enhance(reference.draw("brightness", look) / brightness)
    wanted = reference.draw("bytes_per_pixel", random.random()) * side[0] * side[1]
    return min((_jpeg(picture, quality) for quality in QUALITIES), key=lambda data: abs(len(data) - wanted))


def _odd(sample: Image.Image, random: Random) -> bytes:
    left, top = (random.randrange(side - 2 * ODD_SIDE) for side in sample.size)
    picture = sample.crop((left, top, left + ODD_SIDE, top + ODD_SIDE)).filter(ImageFilter.GaussianBlur(6))
    return _jpeg(Image.blend(picture, Image.new("RGB", picture.size, "white"), 0.6), 30)


def _samples() -> list[Image.Image]:
    folder = sample_photo().parent
    files = [next(folder.glob(f"{name}.*")) for name in SAMPLES]
    return [Image.open(file).convert("RGB") for file in files]


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
