import io
import pickle
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from handler.spec import ModelSpec
from tests.training.pictures import AI, REAL, photo
from training.evaluation.robustness import CLEAN, CONDITIONS, matrix, worst

SIZES = {"resize050": (50, 30), "resize150": (150, 92), "crop080": (80, 49), "screenshot": (75, 46)}


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (61, 100, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_changes_a_picture_in_one_way_and_in_any_process(name: str, picture: Image.Image) -> None:
    degrade = CONDITIONS[name]
    before = picture.tobytes()
    changed = degrade(picture)
    again = pickle.loads(pickle.dumps(degrade))(picture)  # noqa: S301 - our own
    assert (changed.mode, changed.size) == ("RGB", SIZES.get(name, (100, 61)))
    assert changed.tobytes() == again.tobytes()
    assert changed.tobytes() != before
    assert picture.tobytes() == before
    assert min(degrade(Image.new("RGB", (1, 1), "red")).size) >= 1


def test_a_photo_on_white_keeps_its_size_and_has_a_white_margin() -> None:
    placed = np.asarray(CONDITIONS["white_background"](Image.new("RGB", (100, 50))))
    black = np.argwhere(placed.sum(axis=2) == 0)
    assert black.min(axis=0).tolist() == [5, 10]
    assert black.max(axis=0).tolist() == [44, 89]
    assert (placed[:5] == 255).all()


@pytest.mark.parametrize("name", ["jpeg90", "jpeg70", "jpeg50", "webp75"])
def test_a_condition_compresses_to_the_quality_in_its_name(name: str, picture: Image.Image) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, name[:4], quality=int(name[4:]))
    assert CONDITIONS[name](picture).tobytes() == Image.open(buffer).convert("RGB").tobytes()


def test_the_matrix_measures_distance_from_the_clean_verdicts() -> None:
    photos = [photo(REAL, group="1"), photo(REAL, group="2"), photo(AI, group="3"), photo(AI, group="4")]
    logits = {CLEAN: torch.tensor([-9.0, -9.0, 9.0, 9.0]), "jpeg50": torch.tensor([-9.0, 9.0, 9.0, -9.0])}
    rows = matrix(photos, logits, ModelSpec(version="1"), 20)
    assert list(rows) == [CLEAN, "jpeg50"]
    clean, jpeg = rows[CLEAN], rows["jpeg50"]
    assert (clean["auroc"], clean["probability_change"], clean["flipped"]) == (1.0, 0.0, 0.0)
    assert (jpeg["auroc"], jpeg["flipped"]) == (0.5, 0.5)
    assert cast("float", jpeg["probability_change"]) == pytest.approx(0.5, abs=1e-3)
    assert (jpeg["true_positive_rate"], jpeg["false_positive_rate"]) == (0.5, 0.5)
    assert worst(rows) == {"condition": "jpeg50", "auroc": 0.5, "auroc_ci95": jpeg["auroc_ci95"]}
