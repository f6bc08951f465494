"""Lightning's view of the data: augmented training pictures, and serving's own transform for everything else."""

from __future__ import annotations

import functools

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, WeightedRandomSampler

from handler.spec import ModelSpec
from handler.transforms import to_tensor
from training.augment import training_transform
from training.data import Photo, PhotoDataset, Split, of_split, read_manifest, sampling_weights
from training.params import Params

Batch = tuple[torch.Tensor, torch.Tensor]


class PhotoDataModule(pl.LightningDataModule):
    """Batches of pictures, shape (N, 3, H, W), with labels, shape (N,), from the manifest's splits."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.params = params
        self.spec: ModelSpec = params.model.spec()
        self.photos: list[Photo] = []

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - every stage needs the manifest
        """Read the manifest once."""
        if not self.photos:
            self.photos = read_manifest(self.params.data.root, self.params.data.manifest)

    def dataset(self, split: Split) -> PhotoDataset:
        """Return a split as serving sees it: deterministic and in the manifest's order."""
        transform = functools.partial(to_tensor, spec=self.spec)
        return PhotoDataset(of_split(self.photos, split), self.params.data.root, transform)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return augmented batches, drawn so that classes count alike and large sources do not drown small ones."""
        photos = of_split(self.photos, "train")
        transform = training_transform(self.spec, self.params.augment, self.params.train.input_size)
        dataset = PhotoDataset(photos, self.params.data.root, transform)
        sampler = WeightedRandomSampler(sampling_weights(photos), num_samples=len(photos))
        return self._loader(dataset, self.params.train.batch_size, sampler=sampler, drop_last=len(photos) > 1)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the dev split."""
        return self.loader("dev")

    def loader(self, split: Split) -> DataLoader[Batch]:
        """Return any split, deterministic and in order."""
        return self._loader(self.dataset(split), self.params.evaluate.batch_size)

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
