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


STEPS: list[Callable[[AugmentParams], augment.Step]] = [
    augment.Rescale,
    augment.Recompress,
    augment.Blur,
    augment.Noise,
    lambda params: augment.Window(params, 48),
    lambda _params: augment.WhiteBackground(),
]


@pytest.mark.parametrize("make", STEPS)
def test_a_step_gives_an_rgb_picture_and_leaves_its_own_alone(
    make: Callable[[AugmentParams], augment.Step], params: AugmentParams
) -> None:
    image = photo(120, 80)
    changed = make(params)(image)
    assert changed.mode == "RGB"
    assert same(image, photo(120, 80))


@pytest.mark.parametrize("make", STEPS)
def test_the_same_seed_draws_the_same(make: Callable[[AugmentParams], augment.Step], params: AugmentParams) -> None:
    step = make(params)
    drawn = []
    for seed in (3, 3):
        torch.manual_seed(seed)
        drawn.append(step(photo(120, 80)))
    assert same(*drawn)


def test_scaling_stays_within_its_factors(params: AugmentParams) -> None:
    step = augment.Rescale(dataclasses.replace(params, rescale_min=0.5, rescale_max=2.0))
    widths = [step(Image.new("RGB", (200, 100))).width for _ in range(30)]
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
    changed = augment.Recompress(dataclasses.replace(params, webp_share=webp_share))(photo())
    assert formats == [name]
    assert 0 < np.abs(pixels(changed) - pixels(photo())).mean() < 20


def test_a_native_window_is_a_piece_of_the_picture(params: AugmentParams) -> None:
    image = photo(90, 70)
    window = pixels(augment.Window(dataclasses.replace(params, native_share=1.0), 48)(image))
    whole = pixels(image)
    places = [(x, y) for y in range(23) for x in range(43) if np.array_equal(whole[y : y + 48, x : x + 48], window)]
    assert len(places) == 1


@pytest.mark.parametrize("size", [(10, 10), (30, 500), (500, 30), (48, 48), (2000, 1500)])
@pytest.mark.parametrize("native_share", [0.0, 1.0])
def test_a_window_has_the_networks_size_whatever_the_picture(
    params: AugmentParams, size: tuple[int, int], native_share: float
) -> None:
    window = augment.Window(dataclasses.replace(params, native_share=native_share), 48)
    assert {window(Image.new("RGB", size)).size for _ in range(10)} == {(48, 48)}


def test_a_plain_background_becomes_white_and_the_product_stays() -> None:
    image = Image.new("RGB", (100, 100), (200, 190, 180))
    image.paste((20, 60, 120), (30, 30, 70, 70))
    changed = pixels(augment.WhiteBackground()(image))
    assert changed[:20].min() >= 224
    assert np.array_equal(changed[40:60, 40:60], pixels(image)[40:60, 40:60])


@pytest.mark.parametrize("image", [Image.effect_noise((80, 80), 90).convert("RGB"), Image.new("RGB", (80, 80), "red")])
def test_a_picture_without_background_or_product_stays_as_it_is(image: Image.Image) -> None:
    assert augment.WhiteBackground()(image) is image


def test_a_view_is_normalised_as_serving_does(params: AugmentParams) -> None:
    nothing: dict[str, Any] = {f.name: 0.0 for f in dataclasses.fields(params) if f.name.endswith("probability")}
    transform = augment.training_transform(ModelSpec(version="1"), dataclasses.replace(params, **nothing), 32)
    [view] = transform(Image.new("RGB", (64, 64), (128, 0, 255)))
    expected = torch.tensor([(128 / 255 - 0.485) / 0.229, (0 - 0.456) / 0.224, (1 - 0.406) / 0.225]).view(1, 3, 1, 1)
    torch.testing.assert_close(view, expected.expand(1, 3, 32, 32), rtol=0, atol=1e-6)
