"""A small generated set, so that the whole pipeline runs anywhere in minutes; its figures mean nothing outside."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from scipy.ndimage import gaussian_filter, laplace, zoom

from training.data.manifest import LABELS, Photo
from training.params import DataParams

Pixels = NDArray[np.float32]
"""Shape (H, W, 3), 0 to 255."""

SIDES = (128, 160, 192, 224)
PER_GROUP = 2
GROUPS_PER_SOURCE = 5
DOMAINS = {"train": ("shoes", "objects", "food", "nature"), "dev": ("objects", "clothes"), "test": ("shoes", "objects")}
"""Of each split's sources, the same for both classes."""
LATTICE = 4
"""By how much a made-up generator works smaller than its images: two up-samplings by 2."""
GRAIN = (1.0, 2.5)
"""Standard deviation of the Laplacian of the smoothed noise; as the same for both classes, it tells none of them."""


def fill(params: DataParams, folder: Path) -> list[Photo]:
    """Write 160 images of shaded shapes and return their rows; the same bytes for the same `split_seed`.

    Both classes show the same things through the same JPEG. The "real" ones carry grain like a sensor's; the
    "generated" ones come out of a chain of nearest-neighbour up-sampling and smoothing, as latent decoders have it, and
    carry the lattice that it leaves, as strong as the grain.
    """
    sources = [
        (f"tiny_{label}_{split}_{number}", label, split, domain)
        for label in LABELS
        for split, domains in DOMAINS.items()
        for number, domain in enumerate(domains)
    ]
    photos = []
    for number, (source, label, split, domain) in enumerate(track(sources, "generating pictures")):
        generator = "none" if label == LABELS[0] else f"upsampler-{number}"
        (folder / label / source).mkdir(parents=True)
        for index in range(GROUPS_PER_SOURCE * PER_GROUP):
            group = index // PER_GROUP
            look = np.random.default_rng((params.split_seed, number, group))
            random = np.random.default_rng((params.split_seed, number, group, index))
            path = f"{label}/{source}/{index:02}.jpg"
            pixels = _picture(random, look, generated=label == LABELS[1])
            Image.fromarray(pixels).save(folder / path, "JPEG", quality=int(random.integers(85, 96)))
            photos.append(Photo(path, label, split, source, generator, domain, f"{source}/{group}", "CC0-1.0"))
    return photos


def _picture(random: np.random.Generator, look: np.random.Generator, *, generated: bool) -> NDArray[np.uint8]:
    height, width = random.choice(SIDES, 2).tolist()
    plain = _enlarged(_scene(random, look, height, width))
    noise = _lattice(random, plain.shape) if generated else _grain(random, plain.shape)
    noise *= random.uniform(*GRAIN) / np.std(laplace(gaussian_filter(noise[..., 1], 1)))
    picture = plain + noise
    picture *= random.uniform(110, 150) / max(float(picture.mean()), 1)  # brightness tells nothing
    return picture.clip(0, 255).round().astype(np.uint8)


def _scene(random: np.random.Generator, look: np.random.Generator, height: int, width: int) -> Pixels:
    """Shaded superellipses with a soft texture before a graded ground; `look` draws what a group has in common."""
    ground, shade = (look.uniform(*bounds, 3).astype(np.float32) for bounds in ((90, 220), (30, 200)))
    roundness, shapes, texture = float(look.uniform(1.6, 4)), int(look.integers(2, 6)), float(look.uniform(4, 12))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    tilt = random.uniform(-0.3, 0.3, 2)
    scene = ground * (1 + tilt[0] * x + tilt[1] * y)[..., None]
    for _ in range(shapes):
        centre, radius = random.uniform(-0.6, 0.6, 2), random.uniform(0.15, 0.6, 2)
        distance = (abs((x - centre[0]) / radius[0])) ** roundness
        distance += (abs((y - centre[1]) / radius[1])) ** roundness
        colour = shade * random.uniform(0.5, 1.5, 3)
        light = 1.2 - 0.5 * distance
        bumps = texture * gaussian_filter(random.standard_normal((height, width)), 3) * 10
        cover = 1 / (1 + np.exp(np.clip((distance - 1) * 20, -50, 50)))
        scene += cover[..., None] * (colour * light[..., None] + bumps[..., None] - scene)
    return np.asarray(scene, dtype=np.float32)


def _enlarged(scene: Pixels) -> Pixels:
    """Give images of both classes the softness of one half their size."""
    small = zoom(gaussian_filter(scene, (1, 1, 0)), (0.5, 0.5, 1), order=1)
    factors = np.divide(scene.shape, small.shape)
    return np.asarray(gaussian_filter(zoom(small, factors, order=1), (0.7, 0.7, 0)), dtype=np.float32)


def _grain(random: np.random.Generator, shape: tuple[int, ...]) -> Pixels:
    """Noise of a sensor behind a demosaicking filter."""
    return np.asarray(gaussian_filter(random.standard_normal(shape), (0.6, 0.6, 0)), dtype=np.float32)


def _lattice(random: np.random.Generator, shape: tuple[int, ...]) -> Pixels:
    """Latent noise after two up-samplings: nearest neighbour by 2, and a smoothing kernel."""
    height, width, channels = shape
    noise = random.standard_normal((height // LATTICE, width // LATTICE, channels))
    for _ in range(2):
        noise = gaussian_filter(noise.repeat(2, axis=0).repeat(2, axis=1), (0.4, 0.4, 0))
    return np.asarray(noise, dtype=np.float32)
