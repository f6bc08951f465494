from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
import torch
from PIL import ImageOps

from handler.images import decode
from handler.transforms import to_views
from tests.training.conftest import SIZES, Tiny
from tests.training.marks import NOISE
from training.data.augment import training_transform
from training.data.datamodule import PhotoDataModule
from training.data.manifest import LABELS, Split, of_split, read_photo

pytestmark = NOISE


@pytest.fixture
def data(tiny: Tiny) -> PhotoDataModule:
    data = PhotoDataModule(tiny())
    data.setup()
    return data


def epoch(data: PhotoDataModule, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(seed)
    return [(windows, labels) for [windows], labels in data.train_dataloader()]


@pytest.mark.parametrize("split", get_args(Split))
def test_evaluation_sees_what_serving_sees_in_the_manifests_order(data: PhotoDataModule, split: Split) -> None:
    batches = list(data.loader(of_split(data.photos, split)))
    seen = [torch.cat(alike) for alike in zip(*(views for views, _ in batches), strict=True)]
    photos = [photo for photo in data.photos if photo.split == split]
    spec = data.params.model.spec()
    served = [to_views(decode((data.params.data.root / photo.path).read_bytes()), spec) for photo in photos]
    assert len(photos) == SIZES[split]
    for alike, expected in zip(seen, zip(*served, strict=True), strict=True):
        assert torch.equal(alike, torch.stack(expected))
    assert torch.cat([labels for _, labels in batches]).tolist() == [
        float(LABELS.index(photo.label)) for photo in photos
    ]


def test_a_degraded_picture_takes_the_same_path(data: PhotoDataModule) -> None:
    photo = of_split(data.photos, "dev")[0]
    [(degraded, _)] = data.loader([photo], ImageOps.mirror)
    served = to_views(ImageOps.mirror(read_photo(data.params.data.root, photo)), data.params.model.spec())
    for alike, expected in zip(degraded, served, strict=True):
        assert torch.equal(alike[0], expected)


def test_validation_is_the_dev_split(data: PhotoDataModule) -> None:
    for validated, loaded in zip(data.val_dataloader(), data.loader(of_split(data.photos, "dev")), strict=True):
        for alike, expected in zip(validated[0], loaded[0], strict=True):
            assert torch.equal(alike, expected)
        assert torch.equal(validated[1], loaded[1])


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
