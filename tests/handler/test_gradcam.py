from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from handler import network
from handler.gradcam import JPEG_QUALITY, heat_maps, overlay
from handler.spec import ModelSpec
from handler.transforms import Views
from tests.handler.pictures import difference, encode, photo, pixels, same

WHOLE = ModelSpec(version="1")


@pytest.fixture(scope="module")
def inputs() -> Views:
    """Three pictures with two views of one size and one of another."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(3, count, 3, side, side, generator=generator) for count, side in ((2, 96), (1, 64))]


def plain_cam(model: nn.Module, alike: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Class activation maps of a network that pools and then weighs (Zhou et al. 2016, arXiv 1512.04150)."""
    activations: list[torch.Tensor] = []
    hook = network.cam_layer(model).register_forward_hook(lambda _module, _inputs, output: activations.append(output))
    with torch.no_grad():
        model(alike.flatten(0, 1))
    hook.remove()
    weights = model.get_submodule("classifier").get_parameter("weight")[0].detach()
    evidence = torch.einsum("nchw,c->nhw", activations[0], weights)
    maps = evidence.view(*alike.shape[:2], *evidence.shape[1:]) * torch.where(positive, 1.0, -1.0).view(-1, 1, 1, 1)
    return maps.relu()


def opened(jpeg: bytes) -> Image.Image:
    image = Image.open(BytesIO(jpeg))
    assert image.format == "JPEG"
    return image.convert("RGB")


@pytest.mark.parametrize("positive", [True, False])
def test_maps_are_not_negative_and_say_something_of_each_view(
    model: nn.Module, inputs: Views, *, positive: bool
) -> None:
    maps = heat_maps(model, inputs, torch.tensor([positive] * 3))
    assert [tuple(alike.shape) for alike in maps] == [(3, 2, 3, 3), (3, 1, 2, 2)]
    assert [float(alike.min()) >= 0 for alike in maps] == [True, True]
    assert [float(alike.amax(dim=(2, 3)).min()) > 0 for alike in maps] == [True, True]


@pytest.mark.parametrize("positive", [[True] * 3, [False] * 3, [True, False, True]])
def test_maps_are_plain_class_activation_maps(model: nn.Module, inputs: Views, positive: list[bool]) -> None:
    verdicts = torch.tensor(positive)
    for found, alike in zip(heat_maps(model, inputs, verdicts), inputs, strict=True):
        torch.testing.assert_close(found, plain_cam(model, alike, verdicts), rtol=1e-5, atol=1e-4)


def test_a_batch_gives_each_picture_the_map_it_has_alone(model: nn.Module, inputs: Views) -> None:
    positive = torch.tensor([True, False, True])
    alone = [heat_maps(model, [alike[i : i + 1] for alike in inputs], positive[i : i + 1]) for i in range(3)]
    for found, expected in zip(heat_maps(model, inputs, positive), zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(found, torch.cat(expected), rtol=1e-5, atol=1e-4)


def test_opposite_verdicts_never_point_at_the_same_region(model: nn.Module, inputs: Views) -> None:
    opposite = [heat_maps(model, inputs, torch.tensor([verdict] * 3)) for verdict in (True, False)]
    assert [float((first * second).max()) for first, second in zip(*opposite, strict=True)] == [0, 0]


def test_a_map_is_blank_where_no_region_spoke(model: nn.Module, inputs: Views) -> None:
    weight = model.get_submodule("classifier").get_parameter("weight")
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.zero_()
        maps = heat_maps(model, inputs, torch.tensor([True, True, False]))
        weight.copy_(kept)
    assert [float(alike.abs().max()) for alike in maps] == [0, 0]


def test_a_map_may_be_asked_for_where_gradients_are_off(model: nn.Module, inputs: Views) -> None:
    with torch.no_grad():
        [found] = heat_maps(model, inputs[:1], torch.tensor([True] * 3))
    assert float(found.max()) > 0


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((96, 64), (96, 64)),
        ((512, 512), (512, 512)),
        ((513, 300), (512, 299)),
        ((1000, 600), (512, 307)),
        ((600, 1000), (307, 512)),
        ((10, 10), (10, 10)),
    ],
)
def test_an_overlay_keeps_the_photos_shape_within_512_pixels(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert opened(overlay(Image.new("RGB", size), [torch.rand(7, 7)], WHOLE)).size == expected


@pytest.mark.parametrize("size", [(10_000, 10), (10, 10_000), (10_000, 15), (701, 10), (11, 10)])
@pytest.mark.parametrize("crop_pct", [1.0, 0.8, 0.05])
def test_the_narrowest_photos_have_an_overlay(size: tuple[int, int], crop_pct: float) -> None:
    shown = opened(overlay(Image.new("RGB", size), [torch.rand(7, 7)], ModelSpec(version="1", crop_pct=crop_pct)))
    scale = min(1, 512 / max(size))
    assert [abs(side - whole * scale) <= 1 for side, whole in zip(shown.size, size, strict=True)] == [True, True]


def test_a_blank_map_leaves_the_photo_alone() -> None:
    assert overlay(photo(), [torch.zeros(3, 3)], WHOLE) == encode(photo(), "JPEG", quality=JPEG_QUALITY)


def test_only_the_square_that_was_judged_is_coloured() -> None:
    image = photo(400, 200)
    shown = opened(overlay(image, [torch.ones(7, 7)], WHOLE))
    untouched = opened(encode(image, "JPEG", quality=JPEG_QUALITY))
    changed = difference(shown, untouched)
    assert changed[:, :80].max() == 0
    assert changed[:, 320:].max() == 0
    assert changed[:, 116:284].mean() > 20


def test_a_smaller_view_colours_a_smaller_square() -> None:
    shown = opened(overlay(photo(400, 400), [torch.ones(7, 7)], ModelSpec(version="1", crop_pct=0.5)))
    changed = difference(shown, opened(encode(photo(400, 400), "JPEG", quality=JPEG_QUALITY)))
    assert changed[:80].max() == 0
    assert changed[320:].max() == 0
    assert changed[116:284, 116:284].mean() > 20


def test_heat_is_drawn_where_the_map_says() -> None:
    heat = torch.zeros(2, 2)
    heat[0, 1] = 1
    shown = pixels(opened(overlay(Image.new("RGB", (200, 200), (128, 128, 128)), [heat], WHOLE)))
    red, _, blue = shown[20, 180]
    assert red - blue > 60
    assert np.abs(shown[180, 20] - 128).max() < 8


def test_evidence_of_both_views_adds_where_they_overlap() -> None:
    spec = ModelSpec(version="1", details=1, detail_size=100)
    shown = pixels(
        opened(overlay(Image.new("RGB", (400, 400), (128, 128, 128)), [torch.ones(7, 7), torch.ones(5, 5)], spec))
    )
    hottest, half_as_hot = shown[200, 200], shown[60, 60]
    assert np.abs(hottest - (204, 51, 51)).max() < 8  # red at full opacity
    assert np.abs(half_as_hot - (166, 166, 90)).max() < 8  # yellow at half of it


def test_the_photo_itself_is_not_painted_on() -> None:
    image = photo()
    overlay(image, [torch.ones(3, 3)], WHOLE)
    assert same(image, photo())
