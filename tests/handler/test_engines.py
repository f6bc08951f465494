import gc
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from handler import network
from handler.detector import Detector, Item, Prediction
from handler.engines import Forward, OpenVinoEngine, cpus
from handler.network import TorchEngine
from handler.spec import ModelSpec
from handler.torchserve_entry import GRAPH
from handler.transforms import Pixels, normalise, to_pixels
from tests.handler import detectors
from tests.handler.detectors import WEIGHTS
from tests.handler.pictures import encode, photo

SIZES = [(96, 64), (200, 120), (64, 180), (700, 500), (31, 30)]


@pytest.fixture(scope="module")
def pictures(spec: ModelSpec) -> list[Pixels]:
    noise = Image.effect_noise((90, 90), 80).convert("RGB")
    return [*(to_pixels(photo(*size), spec) for size in SIZES), to_pixels(noise, spec)]


@pytest.fixture(scope="module")
def expected(detector: Detector, pictures: list[Pixels]) -> list[Forward]:
    """By PyTorch, one picture after the other."""
    return [detector.engine.run([pixels], [True])[0] for pixels in pictures]


def same(found: list[Forward], expected: list[Forward], tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.logit == pytest.approx(other.logit, abs=tolerance)
        for ours, theirs in zip(one.features, other.features, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_the_served_graph_answers_as_pytorch_does(
    compiled: Detector, pictures: list[Pixels], expected: list[Forward]
) -> None:
    assert len({round(forward.logit, 3) for forward in expected}) == len(pictures)
    same(compiled.engine.run(pictures, [True] * len(pictures)), expected, 1e-4)


def test_a_batch_in_pytorch_answers_as_each_picture_alone(
    detector: Detector, pictures: list[Pixels], expected: list[Forward]
) -> None:
    same(detector.engine.run(pictures, [True] * len(pictures)), expected, 1e-4)


@pytest.mark.parametrize("which", ["detector", "compiled"])
def test_features_are_kept_of_those_alone_that_want_them(
    request: pytest.FixtureRequest, which: str, pictures: list[Pixels]
) -> None:
    engine = request.getfixturevalue(which).engine
    found = engine.run(pictures[:3], [False, True, False])
    assert [len(forward.features) for forward in found] == [0, 2, 0]


def test_a_picture_is_predicted_alike_in_any_company(compiled: Detector, pictures: list[Pixels]) -> None:
    """Each view has a forward of its own, so that not a bit differs."""
    together = compiled.engine.run(pictures, [False] * len(pictures))
    alone = [compiled.engine.run([pixels], [False])[0] for pixels in pictures]
    assert together == alone


def test_as_many_streams_as_there_are_answer_alike(
    model_folder: Path, spec: ModelSpec, compiled: Detector, pictures: list[Pixels]
) -> None:
    engine = OpenVinoEngine(model_folder / GRAPH, model_folder / WEIGHTS, spec, streams=1)
    keep = [False] * len(pictures)
    same(engine.run(pictures, keep), compiled.engine.run(pictures, keep), 1e-5)


def test_views_of_one_size_share_one_compiled_network(model: nn.Module, spec: ModelSpec, model_folder: Path) -> None:
    alike = replace(spec, details=2, detail_size=spec.input_size)
    pixels = to_pixels(photo(300, 200), alike)
    [found] = OpenVinoEngine(model_folder / GRAPH, model_folder / WEIGHTS, alike).run([pixels], [True])
    [wanted] = TorchEngine(deepcopy(model), alike, torch.device("cpu")).run([pixels], [True])
    assert [tuple(size.shape) for size in found.features] == [(1, 1280, 3, 3), (2, 1280, 3, 3)]
    same([found], [wanted], 1e-4)


def test_bfloat16_is_near_and_not_the_same(
    model_folder: Path, spec: ModelSpec, pictures: list[Pixels], expected: list[Forward]
) -> None:
    found = OpenVinoEngine(model_folder / GRAPH, model_folder / WEIGHTS, spec, precision="bf16").run(
        pictures, [False] * len(pictures)
    )
    errors = [abs(one.logit - other.logit) for one, other in zip(found, expected, strict=True)]
    assert max(errors) < 0.5


@pytest.mark.slow
def test_whole_detectors_agree_on_files(detector: Detector, compiled: Detector) -> None:
    items = [Item(encode(photo(*size), kind)) for size in SIZES for kind in ("JPEG", "PNG", "WEBP")]
    for ours, theirs in zip(compiled.predict(items), detector.predict(items), strict=True):
        assert isinstance(ours, Prediction)
        assert isinstance(theirs, Prediction)
        assert ours.verdict.probability == pytest.approx(theirs.verdict.probability, abs=1.01e-4)
        assert ours.verdict.prediction == theirs.verdict.prediction


@pytest.mark.slow
def test_detectors_of_their_own_may_explain_at_once(model_folder: Path, spec: ModelSpec, compiled: Detector) -> None:
    """Workers are processes; in one process each thread takes a detector of its own."""
    items = [Item(encode(photo(*size), "PNG"), explain=True) for size in SIZES]
    alone = compiled.predict(items)
    own = [detectors.compiled(spec, model_folder, threads=1) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda one: [one.predict(items) for _ in range(3)], own))
    assert answers == [[alone] * 3] * 3


@pytest.mark.slow
def test_the_graph_takes_any_number_of_pixels(model: nn.Module, spec: ModelSpec, model_folder: Path) -> None:
    for side in (64, 128):
        other = replace(spec, input_size=side, details=0)
        pixels = to_pixels(photo(300, 200), other)
        same(
            OpenVinoEngine(model_folder / GRAPH, model_folder / WEIGHTS, other).run([pixels], [True]),
            TorchEngine(deepcopy(model), other, torch.device("cpu")).run([pixels], [True]),
            1e-4,
        )


@pytest.mark.slow
def test_openvino_tells_nobody_that_it_is_used() -> None:
    """Its own telemetry, where installed, calls a web service whenever OpenVINO is imported."""
    script = "import handler.engines; from openvino.tools.ovc.telemetry_utils import tm; print(tm.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "openvino.tools.ovc.telemetry_stub\n"


@pytest.mark.slow
def test_signals_are_taken_when_engines_have_come_and_gone(model_folder: Path, spec: ModelSpec) -> None:
    """OpenVINO's cores set a stack for signals, and a process that keeps none of them alive dies of its next signal."""
    for precision in ("f32", "bf16", "f32"):
        OpenVinoEngine(model_folder / GRAPH, model_folder / WEIGHTS, spec, precision=precision)
        gc.collect()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_pixels_give_the_logit_and_the_last_map_before_pooling(spec: ModelSpec, model: nn.Module) -> None:
    pixels = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)
    maps: list[torch.Tensor] = []
    hook = model.get_submodule("bn2").register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    expected = model(normalise(pixels, spec))
    hook.remove()
    logits, features = network.PixelNetwork(model, spec)(pixels)
    assert torch.equal(logits, expected)
    assert torch.equal(features, maps[0])
    assert features.shape == (2, 1280, 3, 3)


def test_an_unknown_architecture_is_refused_by_name(spec: ModelSpec) -> None:
    with pytest.raises(RuntimeError, match="no_such_net"):
        network.build(replace(spec, architecture="no_such_net"))


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("6400000 100000", 8),
        ("max 100000", 8),
        ("", 8),
        (None, 8),
    ],
)
def test_a_containers_share_of_cpus_counts_where_it_is_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: str | None, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)))
    if share is not None:
        (tmp_path / "cpu.max").write_text(share)
    assert cpus(tmp_path / "cpu.max") == expected


def test_a_system_without_affinity_counts_its_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert cpus(tmp_path / "absent") == 4
