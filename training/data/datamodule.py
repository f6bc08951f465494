"""Lightning's view of the data: augmented training images, and serving's own transform for everything else."""

import functools
from collections.abc import Callable, Sequence

import pytorch_lightning as pl
import torch
from PIL import Image
from torch.utils.data import DataLoader, WeightedRandomSampler

from handler.spec import ModelSpec
from handler.transforms import Views, to_views
from training.data.augment import training_transform
from training.data.manifest import Photo, PhotoDataset, of_split, read_manifest, sampling_weights
from training.params import Params

Batch = tuple[Views, torch.Tensor]
"""Views of images, of each size a shape (N, V, 3, side, side), and labels, shape (N,)."""
Degrade = Callable[[Image.Image], Image.Image]
"""A deterministic change to an RGB image, as compression or scaling on its way to us would make it."""


class PhotoDataModule(pl.LightningDataModule):
    """Batches of views of images, with labels, from the manifest's splits."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.params = params
        self.spec: ModelSpec = params.model.spec()
        self.photos: list[Photo] = []

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - every stage needs the manifest
        """Read the manifest once."""
        if not self.photos:
            self.photos = read_manifest(self.params.data.root, self.params.data.manifest)

    def dataset(self, photos: Sequence[Photo]) -> PhotoDataset:
        """Return images as serving sees them, deterministic and in order."""
        return PhotoDataset(photos, self.params.data.root, functools.partial(to_views, spec=self.spec))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return augmented batches of the trainer's epoch (the first one without a trainer).

        They are drawn so that classes count alike and large sources do not drown small ones.
        """
        train = self.params.train
        photos = of_split(self.photos, "train")
        size = train.window_size(self.trainer.current_epoch if self.trainer else 0)
        dataset = PhotoDataset(photos, self.params.data.root, training_transform(self.spec, self.params.augment, size))
        sampler = WeightedRandomSampler(sampling_weights(photos, train.source_power), num_samples=len(photos))
        return self._loader(dataset, train.batch_size, sampler=sampler, drop_last=len(photos) > 1)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the dev split."""
        return self._loader(self.dataset(of_split(self.photos, "dev")), self.params.evaluate.batch_size)

    def _loader(
        self,
        dataset: PhotoDataset,
        batch_size: int,
        sampler: WeightedRandomSampler | None = None,
        *,
        drop_last: bool = False,
    ) -> DataLoader[Batch]:
        workers = self.params.data.num_workers
        return DataLoader(
            dataset,
            batch_size=min(batch_size, len(dataset)),
            sampler=sampler,
            drop_last=drop_last,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
