from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from handler.spec import ModelSpec
from tests.handler.pictures import photo, pixels, same
from training.data import augment
from training.params import AugmentParams, load


@pytest.fixture(scope="module")
def params() -> AugmentParams:
    return load(Path("params.yaml")).augment


STEPS: list[Callable[[Image.Image, AugmentParams], Image.Image]] = [
    augment.rescale,
    augment.recompress,
    augment.crop,
    augment.blur,
    augment.noise,
    lambda image, params: augment.window(image, params, 48),
    lambda image, _params: augment.canvas(image),
    lambda image, _params: augment.white_background(image),
]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_gives_an_rgb_image_by_its_seed_and_leaves_its_own_alone(
    step: Callable[[Image.Image, AugmentParams], Image.Image], params: AugmentParams
) -> None:
    image, drawn = photo(120, 80), []
    for seed in (3, 3):
        torch.manual_seed(seed)
        drawn.append(step(image, params))
    assert drawn[0].mode == "RGB"
    assert same(*drawn)
    assert same(image, photo(120, 80))


def test_scaling_stays_within_its_factors(params: AugmentParams) -> None:
    wide = dataclasses.replace(params, rescale_min=0.5, rescale_max=2.0)
    widths = [augment.rescale(Image.new("RGB", (200, 100)), wide).width for _ in range(30)]
    assert 100 <= min(widths) < 200 < max(widths) <= 400


@pytest.mark.parametrize(("webp_share", "name"), [(0.0, "JPEG"), (1.0, "WEBP")])
def test_compression_is_lossy_in_the_format_that_was_drawn(
    params: AugmentParams, webp_share: float, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats = []

    def record(image: Image.Image, file_format: str, **options: int) -> Image.Image:
        formats.append(file_format)
        return saved(image, file_format, **options)

    saved = augment.saved
    monkeypatch.setattr(augment, "saved", record)
    changed = augment.recompress(photo(), dataclasses.replace(params, webp_share=webp_share))
    assert formats == [name]
    assert 0 < np.abs(pixels(changed) - pixels(photo())).mean() < 20


def test_a_native_window_is_a_piece_of_the_picture(params: AugmentParams) -> None:
    image = photo(90, 70)
    window = pixels(augment.window(image, dataclasses.replace(params, native_share=1.0), 48))
    whole = pixels(image)
    places = [(x, y) for y in range(23) for x in range(43) if np.array_equal(whole[y : y + 48, x : x + 48], window)]
    assert len(places) == 1


@pytest.mark.parametrize("size", [(10, 10), (30, 500), (500, 30), (48, 48), (2000, 1500)])
@pytest.mark.parametrize("native_share", [0.0, 1.0])
def test_a_window_has_the_networks_size_whatever_the_picture(
    params: AugmentParams, size: tuple[int, int], native_share: float
) -> None:
    drawn = dataclasses.replace(params, native_share=native_share)
    assert {augment.window(Image.new("RGB", size), drawn, 48).size for _ in range(10)} == {(48, 48)}


def test_a_plain_background_becomes_white_and_the_product_stays() -> None:
    image = Image.new("RGB", (100, 100), (200, 190, 180))
    image.paste((20, 60, 120), (30, 30, 70, 70))
    changed = pixels(augment.white_background(image))
    assert changed[:20].min() >= 224
    assert np.array_equal(changed[40:60, 40:60], pixels(image)[40:60, 40:60])


@pytest.mark.parametrize("image", [Image.effect_noise((80, 80), 90).convert("RGB"), Image.new("RGB", (80, 80), "red")])
def test_a_picture_without_background_or_product_stays_as_it_is(image: Image.Image) -> None:
    assert augment.white_background(image) is image


def test_a_view_is_normalised_as_serving_does(params: AugmentParams) -> None:
    nothing: dict[str, Any] = {f.name: 0.0 for f in dataclasses.fields(params) if f.name.endswith("probability")}
    transform = augment.training_transform(ModelSpec(version="1"), dataclasses.replace(params, **nothing), 32)
    [view] = transform(Image.new("RGB", (64, 64), (128, 0, 255)))
    expected = torch.tensor([(128 / 255 - 0.485) / 0.229, (0 - 0.456) / 0.224, (1 - 0.406) / 0.225]).view(1, 3, 1, 1)
    torch.testing.assert_close(view, expected.expand(1, 3, 32, 32), rtol=0, atol=1e-6)
