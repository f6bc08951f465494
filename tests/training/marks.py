"""Warnings of libraries that we can do nothing about, each with its reason."""

import pytest

NOISE = [
    # pytorch-lightning 2.6 still asks torch's pytree in a way that torch 2.9 deprecates
    pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated"),
    # torchvision 0.29 moves JPEG coding, which v2.JPEG uses, to a package of its own
    pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision:DeprecationWarning"),
    # hints of Lightning at a training of 3 steps in this process
    pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    # what the tests of resuming are about
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists and is not empty"),
    # mlflow 3.17 asks SQLAlchemy for a strategy that SQLAlchemy 2.1 deprecates
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]
