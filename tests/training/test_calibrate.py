from __future__ import annotations

import pytest
import torch
import yaml

from handler.spec import ModelSpec
from tests.training.conftest import Pipeline
from tests.training.marks import NOISE
from training.calibrate import fit_temperature

pytestmark = NOISE


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 6.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    honest = 2 * torch.randn(20_000, generator=generator)
    labels = torch.bernoulli(honest.sigmoid(), generator=generator)
    assert fit_temperature(temperature * honest, labels) == pytest.approx(temperature, rel=0.1)


def test_the_temperature_stays_within_bounds() -> None:
    labels = torch.tensor([1.0, 1.0, 0.0, 0.0])
    right = torch.tensor([0.05, 0.03, -0.02, -0.04])
    assert 0.05 <= fit_temperature(right, labels) < 1
    assert fit_temperature(-right, labels) == 20


def test_equal_logits_keep_a_temperature_of_one() -> None:
    assert fit_temperature(torch.zeros(4), torch.tensor([1.0, 1.0, 0.0, 0.0])) == 1


def test_the_stage_writes_the_finished_spec(pipeline: Pipeline) -> None:
    written = ModelSpec.from_mapping(yaml.safe_load(pipeline.paths.spec.read_text(encoding="utf-8")))
    assert written == pipeline.params.model.spec(pipeline.temperature)
    assert pipeline.temperature == round(pipeline.temperature, 4)
