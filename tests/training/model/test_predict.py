from __future__ import annotations

import logging

from tests.training.conftest import Pipeline
from tests.training.marks import NOISE
from training.data.datamodule import PhotoDataModule
from training.data.manifest import of_split
from training.model.predict import predict

pytestmark = NOISE


class Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def test_lightning_says_nothing_of_the_machine_before_each_prediction_and_is_heard_again(pipeline: Pipeline) -> None:
    data = PhotoDataModule(pipeline.params)
    data.setup()
    lightning, heard = logging.getLogger("pytorch_lightning"), Heard()
    lightning.addHandler(heard)
    try:
        predict(data, pipeline.paths, of_split(data.photos, "dev"))
        assert heard.said == []
        lightning.info("a training begins")
        assert heard.said == ["a training begins"]
    finally:
        lightning.removeHandler(heard)
