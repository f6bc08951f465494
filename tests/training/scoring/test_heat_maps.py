from pathlib import Path

import numpy as np
from PIL import Image

from tests.training.conftest import Pipeline
from tests.training.marks import NOISE
from training.data.manifest import of_split, read_manifest
from training.scoring import heat_maps
from training.scoring.archive import read_packed

pytestmark = NOISE


def test_every_image_is_measured_unless_its_map_is_empty(pipeline: Pipeline, tmp_path: Path) -> None:
    data = pipeline.params.data
    photos = of_split(read_manifest(data.root, data.manifest), "dev")
    found = heat_maps.run(read_packed(pipeline.archive, tmp_path), data.root, photos)
    assert len(found.warmest) == len(found.random) == len(photos) - found.empty


def test_a_tenth_of_the_image_goes_first_where_it_is_warmest() -> None:
    heat = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    image = Image.fromarray(
        np.where(np.indices((100, 100)).sum(axis=0)[..., None] % 2, 255, 0).repeat(3, 2).astype(np.uint8)
    )
    warmest, elsewhere = (
        (np.asarray(changed) != np.asarray(image)).any(axis=2)
        for changed in heat_maps._without_tenths(image, heat, np.random.default_rng(0))  # noqa: SLF001
    )
    assert warmest[90:].all()
    assert warmest.sum() == elsewhere.sum() == 1000
    assert not (warmest & elsewhere).any()
