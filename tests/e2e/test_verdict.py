"""From an upload to a verdict: gateway, real TorchServe, and the archive that ships."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import torch
from torch import nn

from handler import network
from handler.decision import decide
from handler.detector import Detector
from training.data import Photo
from training.datamodule import Batch, PhotoDataModule
from training.params import load


def test_the_data_modules_evaluation_path_and_http_give_the_same_probability(
    gateway: httpx.Client, detector: Detector, eager: nn.Module, coffee: Path, rotated: Path
) -> None:
    for path in (coffee, rotated):
        [(views, _)] = _evaluation_batches(path, detector)
        with torch.inference_mode():
            expected = decide(float(network.judge_views(eager, views)), detector.spec)
        answer = gateway.post("/predict", files={"file": path.read_bytes()}).json()
        assert answer["probability"] == pytest.approx(expected.probability, abs=0.05)  # served in int8 or bfloat16
        assert answer["model_version"] == detector.spec.version


def test_predictions_and_explanations_at_once_are_answered_one_by_one(gateway: httpx.Client, coffee: Path) -> None:
    whole = coffee.read_bytes()

    def ask(number: int) -> tuple[int, bool]:
        route = "/predict/explain" if number % 3 == 0 else "/predict"
        content = whole[:200_000] if number % 5 == 4 else whole
        answer = gateway.post(route, files={"file": content})
        return answer.status_code, "heatmap_base64" in answer.json()

    with ThreadPoolExecutor(15) as pool:
        answers = list(pool.map(ask, range(15)))
    assert answers == [(400, False) if n % 5 == 4 else (200, n % 3 == 0) for n in range(15)]


def _evaluation_batches(path: Path, detector: Detector) -> list[Batch]:
    """The photo as the data module gives it, under the served model's own preprocessing."""
    names = ("architecture", "blocks", "input_size", "crop_pct", "details", "detail_size")
    view = [f"model.{name}={getattr(detector.spec, name)}" for name in names]
    view.append(f"model.read_blocks={list(detector.spec.read_blocks)}")
    data = PhotoDataModule(load(Path("params.yaml"), [*view, f"data.root={path.parent}", "data.num_workers=0"]))
    photo = Photo(path.name, "real", "dev", "test", "camera", "objects", path.name, "none")
    return list(data.loader([photo]))
