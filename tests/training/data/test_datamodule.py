from __future__ import annotations

import dataclasses

import pytest
import torch

from handler.images import decode
from handler.transforms import to_views
from tests.training.conftest import SIZES, Tiny
from tests.training.marks import NOISE
from training.data.augment import training_transform
from training.data.datamodule import PhotoDataModule
from training.data.manifest import LABELS, of_split

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
