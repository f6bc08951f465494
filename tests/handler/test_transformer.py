"""A frozen vision transformer instead of the convolutional network: small, and with random weights."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from captum.attr import LayerGradCam
from safetensors.torch import load_file, save_file

from handler import heads, network
from handler.engines import Forward, OpenVinoEngine, fastest
from handler.gradcam import heat_maps
from handler.network import FrozenTransformer, TorchEngine
from handler.spec import ModelSpec
from handler.torchserve_entry import GRAPH
from handler.transforms import Pixels, normalise, to_pixels
from tests.handler.detectors import WEIGHTS
from tests.handler.pictures import photo
from training.model.export import quantise, write_graph

SPEC = ModelSpec(
    version="9.9.9",
    architecture="vit_tiny_patch16_224",
    input_size=64,
    details=1,
    detail_size=64,
    blocks=3,
    read_blocks=(1, 3),
    hidden=8,
)
BOUNDS = {"f32": (1e-3, 0.99999), "bf16": (0.1, 0.99), "int8": (0.1, 0.99)}
"""Of a precision: how far logits may be apart, and how alike tokens must be."""


@pytest.fixture(scope="module")
def donor() -> Any:  # noqa: ANN401 - timm has no types
    """A whole transformer of timm's whose tokens differ from each other."""
    torch.manual_seed(0)
    donor = timm.create_model(SPEC.architecture, num_classes=0, img_size=SPEC.input_size).eval()
    with torch.no_grad():
        for parameter in donor.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return donor


@pytest.fixture(scope="module")
def tower(donor: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ANN401
    file = tmp_path_factory.mktemp("tower") / "tower.safetensors"
    save_file(donor.state_dict() | {"head.weight": torch.zeros(5, 192), "head.bias": torch.zeros(5)}, file)
    return file


@pytest.fixture(scope="module")
def model(tower: Path) -> FrozenTransformer:
    torch.manual_seed(0)
    model = network.build(SPEC, tower=tower).eval()
    assert isinstance(model, FrozenTransformer)
    return model


@pytest.fixture(scope="module")
def weights(model: FrozenTransformer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(model.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    return [to_pixels(photo(*size), SPEC) for size in ((96, 64), (200, 120), (64, 180))]


def test_class_tokens_are_timms_after_each_block(donor: Any, model: FrozenTransformer) -> None:  # noqa: ANN401
    views = torch.randn(2, 3, 64, 64)
    found = donor.forward_intermediates(
        views, indices=[0, 1, 2], return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
    )
    expected = torch.stack([prefix[:, 0] for _, prefix in found], dim=1)
    assert model.class_tokens(views).shape == (2, 3, 192)
    torch.testing.assert_close(model.class_tokens(views), expected, rtol=1e-4, atol=1e-5)


def test_the_logit_is_the_classifiers_of_the_blocks_that_are_read(model: FrozenTransformer) -> None:
    views = torch.randn(2, 3, 64, 64)
    read = model.class_tokens(views)[:, [0, 2]].flatten(1)
    torch.testing.assert_close(model(views), model.head.classifier(read))


def test_the_classifier_alone_is_trained(model: FrozenTransformer) -> None:
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {f"head.classifier.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")}


def test_a_head_without_a_hidden_layer_is_linear(tower: Path) -> None:
    [layer] = network.build(replace(SPEC, hidden=0), tower=tower).get_submodule("head.classifier").children()
    assert isinstance(layer, torch.nn.Linear)


def test_a_tower_serves_another_size_with_its_positions_resampled(tower: Path, donor: Any) -> None:  # noqa: ANN401
    model = network.build(replace(SPEC, input_size=96, detail_size=96), tower=tower)
    larger = deepcopy(donor)
    larger.set_input_size(img_size=96)
    assert torch.equal(model.get_parameter("pos_embed"), larger.pos_embed)


def test_clips_activation_and_norms_are_taken_over() -> None:
    """OpenAI's weights were trained with another GELU; were one of the two in the last block, building would fail."""
    clip = replace(SPEC, architecture="vit_base_patch32_clip_quickgelu_224", blocks=2, read_blocks=(2,))
    model = network.build(clip)
    assert isinstance(model, FrozenTransformer)
    assert isinstance(model.head.block.act, heads.QuickGELU)
    assert model.head.block.norm1.eps == 1e-5


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"blocks": 13, "read_blocks": (13,)}, "vit_tiny_patch16_224 has 12 blocks, not 13"),
        ({"architecture": "efficientnet_b0"}, "efficientnet_b0 is no vision transformer"),
        ({"architecture": "test_vit"}, "other transformer blocks"),
    ],
)
def test_an_architecture_that_cannot_run_so_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        network.build(replace(SPEC, **fields))


@pytest.mark.parametrize("positive", [True, False])
def test_maps_are_captums_on_the_whole_network(
    model: FrozenTransformer, weights: Path, pictures: list[Pixels], *, positive: bool
) -> None:
    head, sign = heads.load(weights, SPEC), 1 if positive else -1
    for alike in pictures[1]:
        views = normalise(alike, SPEC)
        raw = LayerGradCam(model, model.head.features).attribute(views, target=0)[:, 0].detach()
        [found] = heat_maps(head, [model.forward_features(views)], positive=positive)
        assert found.shape == (4, 4)
        assert found.max() > 0
        torch.testing.assert_close(found, (raw[0] * 16 * sign).clamp(min=0), rtol=1e-4, atol=1e-5)


def test_a_map_is_of_the_patch_tokens_that_enter_the_last_block(
    donor: Any,  # noqa: ANN401
    model: FrozenTransformer,
    weights: Path,
) -> None:
    """By autograd on timm's own blocks, in row-major order of the patches."""
    views = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        entering = donor.blocks[:2](donor.norm_pre(donor._pos_embed(donor.patch_embed(views))))  # noqa: SLF001
        first = model.class_tokens(views)[:, 0]
    patches = entering[:, 1:].requires_grad_()
    last = donor.blocks[2](torch.cat([entering[:, :1], patches], dim=1))[:, 0]
    [gradient] = torch.autograd.grad(model.head.classifier(torch.cat([first, last], dim=1)).sum(), patches)
    expected = (patches * gradient.mean(dim=1, keepdim=True)).sum(dim=2).view(4, 4) * 16
    [found] = heat_maps(heads.load(weights, SPEC), [model.forward_features(views)], positive=True)
    torch.testing.assert_close(found, expected.detach().clamp(min=0), rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def folder(model: FrozenTransformer, pictures: list[Pixels], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an archive carries of the network with int8 weights."""
    folder = tmp_path_factory.mktemp("quantised")
    views = [normalise(alike, SPEC) for pixels in pictures for alike in pixels]
    save_file(quantise(deepcopy(model), views), folder / WEIGHTS)
    write_graph(SPEC, folder / WEIGHTS, folder / GRAPH)
    return folder


@pytest.fixture(scope="module")
def eager(folder: Path, pictures: list[Pixels]) -> list[Forward]:
    engine = TorchEngine.load(folder / WEIGHTS, SPEC, torch.device("cpu"))
    return engine.run(pictures, [True] * len(pictures))


def test_smoothing_and_int8_weights_change_little(
    model: FrozenTransformer, folder: Path, pictures: list[Pixels], eager: list[Forward]
) -> None:
    before = TorchEngine(model, SPEC, torch.device("cpu")).run(pictures, [True] * len(pictures))
    for one, other in zip(eager, before, strict=True):
        assert one.logit == pytest.approx(other.logit, abs=0.05)
        assert similarity(one, other) > 0.999
    stored = load_file(folder / WEIGHTS)
    assert {name for name in stored if stored[name].dtype == torch.int8} == {
        *(f"blocks.{n}.{layer}.weight" for n in (0, 1) for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")),
        *(f"head.block.{layer}.weight" for layer in ("q", "kv", "proj", "fc1", "fc2")),
    }


def test_quantising_again_changes_no_weight(folder: Path, pictures: list[Pixels]) -> None:
    """So that a head may be trained on the rounded network, and be packed with it."""
    stored, rounded = load_file(folder / WEIGHTS), network.load(SPEC, folder / WEIGHTS)
    assert isinstance(rounded, FrozenTransformer)
    again = quantise(rounded, [normalise(pictures[0][0], SPEC)], smoothing=None)
    assert all(torch.equal(again[name], stored[name]) for name in stored)


@pytest.mark.parametrize("precision", BOUNDS)
def test_the_served_graph_answers_as_pytorch_does(
    folder: Path, pictures: list[Pixels], eager: list[Forward], precision: str
) -> None:
    tolerance, least = BOUNDS[precision]
    engine = OpenVinoEngine(folder / GRAPH, folder / WEIGHTS, SPEC, precision=precision)
    for one, other in zip(engine.run(pictures, [True] * len(pictures)), eager, strict=True):
        assert one.logit == pytest.approx(other.logit, abs=tolerance)
        assert similarity(one, other) > least


def test_graphs_hold_no_weights_of_their_own(folder: Path) -> None:
    assert all(file.stat().st_size < 20_000 for file in folder.glob("*.bin"))
    assert {file.name for file in folder.iterdir()} == {
        WEIGHTS,
        "network.xml",
        "network.bin",
    }


def test_int8_needs_int8_weights(model: FrozenTransformer, tmp_path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / WEIGHTS)
    write_graph(SPEC, tmp_path / WEIGHTS, tmp_path / GRAPH)
    with pytest.raises(ValueError, match="needs a network with int8 weights"):
        OpenVinoEngine(tmp_path / GRAPH, tmp_path / WEIGHTS, SPEC, precision="int8")
    assert OpenVinoEngine(tmp_path / GRAPH, tmp_path / WEIGHTS, SPEC, precision="auto").precision in {"bf16", "f32"}


@pytest.mark.parametrize(
    ("flags", "int8", "expected"),
    [
        ("avx2 avx512_vnni avx512_bf16", True, "int8"),
        ("avx2 avx_vnni", True, "int8"),
        ("avx2 avx512_vnni avx512_bf16", False, "bf16"),
        ("avx2 amx_bf16 avx512_vnni", False, "bf16"),
        ("avx2 avx_vnni", False, "f32"),
        ("avx2", True, "f32"),
    ],
)
def test_the_fastest_precision_is_what_the_cpu_has(tmp_path: Path, flags: str, *, int8: bool, expected: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name\t: a CPU\nflags\t\t: fpu {flags}\n")
    assert fastest(int8=int8, cpuinfo=tmp_path / "cpuinfo") == expected
    assert fastest(int8=int8, cpuinfo=tmp_path / "absent") == "f32"


def similarity(one: Forward, other: Forward) -> float:
    """The mean cosine of tokens."""
    ours, theirs = (torch.cat([size.flatten(0, 1) for size in forward.features]) for forward in (one, other))
    return float(torch.cosine_similarity(ours, theirs, dim=1).mean())
