"""Whether heat maps show what drives verdicts, on dev: `python -m training.scoring.heat_maps --archive A.mar`.

Each image's warmest tenth is painted in its mean colour, and so is a tenth somewhere else: the same shape, moved around
the image at random. A map is worth showing if the first makes the verdict less probable than the second does (deletion,
Petsiuk et al. 2018, arXiv 1806.07421).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from handler import engines, gradcam, heads, transforms
from handler.spec import ModelSpec, decide
from training.data.manifest import Photo, read_photo
from training.scoring.archive import Packed, archive_and_dev

SHARE: Final = 0.1
"""Of the image's area that is painted over."""


@dataclass(frozen=True)
class Deletion:
    """How much the verdict's probability falls when a tenth of the image goes, shape (N,) each.

    Attributes:
        warmest: The warmest tenth by the heat map.
        random: The same shape, somewhere else.
        empty: How many images have an empty heat map; these are in neither.
    """

    warmest: NDArray[np.float64]
    random: NDArray[np.float64]
    empty: int

    def __str__(self) -> str:
        apart = self.warmest - self.random
        error = 1.96 * apart.std() / max(1, len(apart)) ** 0.5
        return (
            f"{len(apart)} images: probability falls by {self.warmest.mean():.3f} without the warmest tenth and by "
            f"{self.random.mean():.3f} without another; difference {apart.mean():.3f} (95 % within {error:.3f}), "
            f"larger in {(apart > 0).mean():.0%}; {self.empty} images with an empty map"
        )


def run(packed: Packed, root: Path, photos: Sequence[Photo], seed: int = 0) -> Deletion:
    """Measure an archive's heat maps on images, by the engine that serves."""
    engine, head = packed.engine(engines.cpus(), engines.AUTO), heads.load(packed.weights, packed.spec)
    random, falls = np.random.default_rng(seed), []
    for photo in track(photos, "deleting", transient=True):
        image = read_photo(root, photo)
        pixels, boxes = transforms.see(image, packed.spec)
        [forward] = engine.run([pixels], [True])
        verdict = decide(forward.logit, packed.spec)
        positive = verdict.prediction == packed.spec.labels[1]
        maps = gradcam.heat_maps(head, forward.features, positive=positive)
        heat = gradcam.heat(image.size, gradcam.small(image).size, maps, boxes)
        if heat.max() >= gradcam.LEAST_HEAT:
            before, *after = _probabilities(engine, packed.spec, [image, *_without_tenths(image, heat, random)])
            falls.append([(before - later) * (1 if positive else -1) for later in after])
    warmest, elsewhere = np.array(falls, dtype=np.float64).reshape(-1, 2).T
    return Deletion(warmest, elsewhere, len(photos) - len(falls))


def _without_tenths(
    image: Image.Image, heat: NDArray[np.float32], random: np.random.Generator
) -> Iterator[Image.Image]:
    """Yield the image without its warmest tenth, and without the same shape at a random place."""
    order = heat.ravel().argsort()
    hottest = np.zeros(heat.size, dtype=np.uint8)
    hottest[order[-round(SHARE * heat.size) :]] = 255
    mean = tuple(round(channel) for channel in np.asarray(image).mean(axis=(0, 1)))
    shift = tuple(int(random.integers(side // 4, side - side // 4)) for side in heat.shape)
    for mask in (hottest.reshape(heat.shape), np.roll(hottest.reshape(heat.shape), shift, (0, 1))):
        changed = image.copy()
        changed.paste(mean, mask=Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))
        yield changed


def _probabilities(engine: engines.Engine, spec: ModelSpec, images: Sequence[Image.Image]) -> list[float]:
    forwards = engine.run([transforms.to_pixels(image, spec) for image in images], [False] * len(images))
    return [decide(forward.logit, spec).probability for forward in forwards]


def main() -> None:
    """Measure from the command line."""
    with archive_and_dev("heat_maps", __doc__) as (packed, arguments, photos):
        print(run(packed, arguments.data, photos))


if __name__ == "__main__":
    main()
