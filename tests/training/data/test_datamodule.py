import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from handler.images import decode
from handler.spec import ModelSpec
from handler.transforms import to_views
from tests.handler.pictures import photo, pixels, same
from tests.training.conftest import SIZES, Tiny
from tests.training.marks import NOISE
from training.data import datamodule
from training.data.datamodule import PhotoDataModule, training_transform
from training.data.manifest import LABELS, of_split
from training.params import AugmentParams, load

pytestmark = NOISE


@pytest.fixture
def data(tiny: Tiny) -> PhotoDataModule:
    data = PhotoDataModule(tiny())
    data.setup()
    return data


def epoch(data: PhotoDataModule, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(seed)
    return [(windows, labels) for [windows], labels in data.train_dataloader()]


def test_validation_sees_dev_as_serving_does_in_the_manifests_order(data: PhotoDataModule) -> None:
    batches = list(data.val_dataloader())
    seen = [torch.cat(alike) for alike in zip(*(views for views, _ in batches), strict=True)]
    photos, spec = of_split(data.photos, "dev"), data.params.model.spec()
    served = [to_views(decode((data.params.data.root / photo.path).read_bytes()), spec) for photo in photos]
    assert len(photos) == SIZES["dev"]
    for alike, expected in zip(seen, zip(*served, strict=True), strict=True):
        assert torch.equal(alike, torch.stack(expected))
    assert torch.cat([labels for _, labels in batches]).tolist() == [LABELS.index(photo.label) for photo in photos]


def test_windows_are_larger_in_the_last_epochs(tiny: Tiny) -> None:
    train = tiny("train.epochs=10", "train.late_input_size=96", "train.late_share=0.3").train
    assert [train.window_size(epoch) for epoch in range(10)] == [64] * 7 + [96] * 3
    assert dataclasses.replace(train, late_share=0.0).window_size(9) == 64


def test_training_batches_follow_the_trainers_epoch(data: PhotoDataModule) -> None:
    data.params = dataclasses.replace(
        data.params, train=dataclasses.replace(data.params.train, late_share=1.0, late_input_size=96)
    )
    assert [pictures.shape[-1] for pictures, _ in epoch(data, 0)] == [96] * 3


def test_a_batch_is_never_larger_than_the_split(tiny: Tiny) -> None:
    data = PhotoDataModule(tiny("train.batch_size=100"))
    data.setup()
    assert [len(labels) for _, labels in epoch(data, 0)] == [24]


def test_a_training_view_is_normalised_and_random(data: PhotoDataModule) -> None:
    image = decode((data.params.data.root / data.photos[0].path).read_bytes())
    transform = training_transform(data.params.model.spec(), data.params.augment, 48)
    [first], [second] = transform(image), transform(image)
    assert (first.shape, first.dtype) == ((1, 3, 48, 48), torch.float32)
    assert not torch.equal(first, second)
    assert -2.2 < float(first.min()) < float(first.max()) < 2.7


@pytest.fixture(scope="module")
def params() -> AugmentParams:
    return load(Path("params.yaml")).augment


STEPS: list[Callable[[Image.Image, AugmentParams], Image.Image]] = [
    datamodule.rescale,
    datamodule.recompress,
    datamodule.crop,
    datamodule.blur,
    datamodule.noise,
    lambda image, params: datamodule.window(image, params, 48),
    lambda image, _params: datamodule.canvas(image),
    lambda image, _params: datamodule.white_background(image),
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
    widths = [datamodule.rescale(Image.new("RGB", (200, 100)), wide).width for _ in range(30)]
    assert 100 <= min(widths) < 200 < max(widths) <= 400


@pytest.mark.parametrize(("webp_share", "name"), [(0.0, "JPEG"), (1.0, "WEBP")])
def test_compression_is_lossy_in_the_format_that_was_drawn(
    params: AugmentParams, webp_share: float, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats = []

    def record(image: Image.Image, file_format: str, **options: int) -> Image.Image:
        formats.append(file_format)
        return saved(image, file_format, **options)

    saved = datamodule.saved
    monkeypatch.setattr(datamodule, "saved", record)
    changed = datamodule.recompress(photo(), dataclasses.replace(params, webp_share=webp_share))
    assert formats == [name]
    assert 0 < np.abs(pixels(changed) - pixels(photo())).mean() < 20


def test_a_native_window_is_a_piece_of_the_picture(params: AugmentParams) -> None:
    image = photo(90, 70)
    window = pixels(datamodule.window(image, dataclasses.replace(params, native_share=1.0), 48))
    whole = pixels(image)
    places = [(x, y) for y in range(23) for x in range(43) if np.array_equal(whole[y : y + 48, x : x + 48], window)]
    assert len(places) == 1


@pytest.mark.parametrize("size", [(10, 10), (30, 500), (500, 30), (48, 48), (2000, 1500)])
@pytest.mark.parametrize("native_share", [0.0, 1.0])
def test_a_window_has_the_networks_size_whatever_the_picture(
    params: AugmentParams, size: tuple[int, int], native_share: float
) -> None:
    drawn = dataclasses.replace(params, native_share=native_share)
    assert {datamodule.window(Image.new("RGB", size), drawn, 48).size for _ in range(10)} == {(48, 48)}


def test_a_plain_background_becomes_white_and_the_product_stays() -> None:
    image = Image.new("RGB", (100, 100), (200, 190, 180))
    image.paste((20, 60, 120), (30, 30, 70, 70))
    changed = pixels(datamodule.white_background(image))
    assert changed[:20].min() >= 224
    assert np.array_equal(changed[40:60, 40:60], pixels(image)[40:60, 40:60])


@pytest.mark.parametrize("image", [Image.effect_noise((80, 80), 90).convert("RGB"), Image.new("RGB", (80, 80), "red")])
def test_a_picture_without_background_or_product_stays_as_it_is(image: Image.Image) -> None:
    assert datamodule.white_background(image) is image


def test_a_view_is_normalised_as_serving_does(params: AugmentParams) -> None:
    nothing: dict[str, Any] = {f.name: 0.0 for f in dataclasses.fields(params) if f.name.endswith("probability")}
    transform = training_transform(ModelSpec(version="1"), dataclasses.replace(params, **nothing), 32)
    [view] = transform(Image.new("RGB", (64, 64), (128, 0, 255)))
    expected = torch.tensor([(128 / 255 - 0.485) / 0.229, (0 - 0.456) / 0.224, (1 - 0.406) / 0.225]).view(1, 3, 1, 1)
    torch.testing.assert_close(view, expected.expand(1, 3, 32, 32), rtol=0, atol=1e-6)
