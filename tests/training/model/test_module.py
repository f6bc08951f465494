from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.training.conftest import Tiny
from tests.training.marks import NOISE
from training.data.datamodule import Batch, PhotoDataModule
from training.model.module import DetectorModule
from training.params import Params

pytestmark = [
    pytest.mark.slow,
    *NOISE,
    # these tests train on given batches alone
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
]


class Fixed(torch.utils.data.Dataset[Batch]):
    """The same batches each epoch."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]


class Recorder(pl.Callback):
    """Keeps each step's learning rate and loss."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_end(self, *arguments: Any, **_: Any) -> None:  # noqa: ANN401 - Lightning's
        self.losses.append(float(arguments[2]["loss"]))

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:  # noqa: ANN401 - Lightning's
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def fit(params: Params, batches: list[Batch]) -> Recorder:
    recorder = Recorder()
    torch.manual_seed(0)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=params.train.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[recorder],
    )
    trainer.fit(DetectorModule(params), torch.utils.data.DataLoader(Fixed(batches), batch_size=None))
    return recorder


@pytest.fixture
def batch(tiny: Tiny) -> Batch:
    data = PhotoDataModule(tiny())
    data.setup()
    views, labels = next(iter(data.val_dataloader()))
    return views, labels


@pytest.fixture
def windows(batch: Batch) -> Batch:
    """A batch such as training has: views of one size."""
    return [batch[0][0]], batch[1]


class FirstPixel(torch.nn.Module):
    """A network whose logit is the first value of the picture."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures[:, 0, 0, :1]


def validate(module: DetectorModule, batches: list[Batch]) -> dict[str, float]:
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    found = trainer.validate(module, torch.utils.data.DataLoader(Fixed(batches), batch_size=None), verbose=False)
    return dict(found[0])


def test_the_logit_of_a_picture_is_the_mean_over_its_views(tiny: Tiny) -> None:
    module = DetectorModule(tiny())
    module.model = FirstPixel()
    whole = torch.tensor([0.5, -2.0]).view(2, 1, 1, 1, 1).expand(2, 1, 3, 1, 1)
    details = torch.tensor([[0.0, 2.5], [-1.0, 6.0]]).view(2, 2, 1, 1, 1).expand(2, 2, 3, 4, 4)
    assert module([whole, details]).tolist() == [1.0, 1.0]


def test_cutmix_mixes_labels_by_area(tiny: Tiny) -> None:
    windows = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1, 1).expand(2, 1, 3, 40, 40).clone()
    batch = ([windows], torch.tensor([0.0, 1.0]))
    torch.manual_seed(0)
    [mixed], labels = DetectorModule(tiny("augment.cutmix_probability=1"))._mixed(batch)  # noqa: SLF001 - the claim
    assert mixed.shape == (2, 1, 3, 40, 40)
    assert 0 < float(labels[0]) < 1
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3, 4)), labels, rtol=0, atol=1e-6)


def test_no_batch_is_mixed_where_cutmix_is_off(tiny: Tiny, windows: Batch) -> None:
    assert DetectorModule(tiny("augment.cutmix_probability=0"))._mixed(windows) is windows  # noqa: SLF001 - the claim


def test_training_lowers_the_loss_of_one_batch(tiny: Tiny, windows: Batch) -> None:
    losses = fit(tiny("train.epochs=12", "train.warmup_epochs=2", "train.label_smoothing=0"), [windows]).losses
    assert len(losses) == 12
    assert losses[-1] < 0.75 * losses[0]


def test_the_rate_warms_up_and_then_falls_to_nothing(tiny: Tiny, windows: Batch) -> None:
    small: Batch = ([windows[0][0][:2, :, :, :32, :32]], windows[1][:2])
    rates = fit(tiny("train.epochs=5", "train.warmup_epochs=2", "train.lr=0.01"), [small] * 3).rates
    assert len(rates) == 15
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates[:6] == sorted(rates[:6])
    assert rates[5] == pytest.approx(0.01)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 1e-6


@pytest.mark.parametrize(
    ("batches", "overrides"),
    [
        (1, ["train.epochs=1"]),
        (2, ["train.epochs=1"]),
        (3, ["train.epochs=1", "train.warmup_epochs=1"]),
        (1, ["train.epochs=4", "train.warmup_epochs=1"]),
        (3, ["train.epochs=1", "train.warmup_epochs=9"]),
        (4, ["train.epochs=1", "train.warmup_epochs=0"]),
    ],
)
def test_the_shortest_trainings_have_a_schedule(batches: int, overrides: list[str], tiny: Tiny, windows: Batch) -> None:
    small: Batch = ([windows[0][0][:2, :, :, :32, :32]], windows[1][:2])
    params = tiny("train.lr=0.01", *overrides)
    rates = fit(params, [small] * batches).rates
    assert len(rates) == batches * params.train.epochs
    assert all(0 < rate <= 0.01 for rate in rates)


def test_validation_takes_the_labels_as_they_are(tiny: Tiny, batch: Batch) -> None:
    module = DetectorModule(tiny("train.label_smoothing=0.2")).eval()
    found = validate(module, [batch])
    with torch.no_grad():
        logits = module(batch[0])
    assert found["val/loss"] == pytest.approx(float(binary_cross_entropy_with_logits(logits, batch[1])), rel=1e-5)
    assert set(found) == {"val/loss", "val/auroc", "val/accuracy"}


def test_validation_compares_batches_on_one_scale(tiny: Tiny) -> None:
    """Logits of the first batch all lie in 0..1, where torchmetrics takes them for probabilities."""
    module = DetectorModule(tiny())
    module.model = FirstPixel()
    logits = ([0.2, 0.9], [-0.5, 3.0], [0.3, 0.25])
    labels = ([0.0, 1.0], [0.0, 1.0], [1.0, 0.0])
    batches: list[Batch] = [
        ([torch.tensor(values).view(2, 1, 1, 1, 1).expand(2, 1, 3, 1, 1)], torch.tensor(truths))
        for values, truths in zip(logits, labels, strict=True)
    ]
    found = validate(module, batches)
    assert found["val/auroc"] == 1.0
    assert found["val/accuracy"] == pytest.approx(4 / 6)
