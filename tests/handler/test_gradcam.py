from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from gateway.client.answers import EMPTY_HEATMAP
from handler import heads
from handler.detector import Detector
from handler.engines import Forward
from handler.gradcam import EMPTY, JPEG_QUALITY, LEAST_HEAT, heat_maps, overlay
from handler.heads import Head, PooledHead
from handler.spec import ModelSpec
from handler.transforms import Pixels, normalise, see, to_pixels
from tests.handler.pictures import difference, encode, photo, pixels, same

WHOLE = ModelSpec(version="1")


@pytest.fixture(scope="module")
def pictures(spec: ModelSpec) -> list[Pixels]:
    return [to_pixels(photo(*size), spec) for size in ((96, 64), (200, 120), (64, 180))]


@pytest.fixture(scope="module", params=["detector", "compiled"])
def forwards(request: pytest.FixtureRequest, pictures: list[Pixels]) -> list[Forward]:
    """The pictures' forwards by each engine, with features."""
    detector: Detector = request.getfixturevalue(request.param)
    return detector.engine.run(pictures, [True] * 3)


def by_captum(model: nn.Module, spec: ModelSpec, pixels: Pixels, *, positive: bool) -> list[torch.Tensor]:
    """Grad-CAM by Captum on the whole network in PyTorch, at its last layer before pooling."""
    raw = [
        LayerGradCam(model, model.get_submodule("bn2")).attribute(normalise(alike, spec), target=0)[:, 0].detach()
        for alike in pixels
    ]
    return [view * view.numel() * (1 if positive else -1) for alike in raw for view in alike.unbind()]


def plain_cam(head: Head, features: Sequence[torch.Tensor], *, positive: bool) -> list[torch.Tensor]:
    """Class activation maps of a network that pools and then weighs (Zhou et al. 2016, arXiv 1512.04150)."""
    weights = head.classifier.get_parameter("weight")[0].detach() * (1 if positive else -1)
    return [view for alike in features for view in torch.einsum("nchw,c->nhw", alike, weights).relu()]


def opened(jpeg: bytes) -> Image.Image:
    image = Image.open(BytesIO(jpeg))
    assert image.format == "JPEG"
    return image.convert("RGB")


def overlaid(image: Image.Image, maps: Sequence[torch.Tensor], spec: ModelSpec = WHOLE) -> Image.Image:
    return opened(overlay(image, maps, see(image, spec)[1]))


@pytest.mark.parametrize("positive", [True, False])
def test_maps_are_captums_on_the_whole_network(  # noqa: PLR0913 - fixtures
    model: nn.Module, spec: ModelSpec, head: Head, pictures: list[Pixels], forwards: list[Forward], *, positive: bool
) -> None:
    for picture, forward in zip(pictures, forwards, strict=True):
        maps = heat_maps(head, forward.features, positive=positive)
        for found, expected in zip(maps, by_captum(model, spec, picture, positive=positive), strict=True):
            torch.testing.assert_close(found, expected.clamp(min=0), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("positive", [True, False])
def test_maps_are_not_negative_and_say_something_of_each_view(
    head: Head, forwards: list[Forward], *, positive: bool
) -> None:
    for forward in forwards:
        maps = heat_maps(head, forward.features, positive=positive)
        assert [tuple(view.shape) for view in maps] == [(3, 3), (2, 2)]
        assert [float(view.min()) >= 0 for view in maps] == [True, True]
        assert [float(view.max()) > 0 for view in maps] == [True, True]


@pytest.mark.parametrize("positive", [True, False])
def test_maps_are_plain_class_activation_maps(head: Head, forwards: list[Forward], *, positive: bool) -> None:
    for forward in forwards:
        expected = plain_cam(head, forward.features, positive=positive)
        for found, plain in zip(heat_maps(head, forward.features, positive=positive), expected, strict=True):
            torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-4)


def test_opposite_verdicts_never_point_at_the_same_region(head: Head, forwards: list[Forward]) -> None:
    opposite = [heat_maps(head, forwards[0].features, positive=verdict) for verdict in (True, False)]
    assert [float((first * second).max()) for first, second in zip(*opposite, strict=True)] == [0, 0]


def test_a_map_is_blank_where_no_region_spoke(forwards: list[Forward]) -> None:
    blank = PooledHead(torch.zeros(1, 1280), torch.ones(1))
    assert [float(view.abs().max()) for view in heat_maps(blank, forwards[0].features, positive=True)] == [0, 0]


def test_a_map_may_be_asked_for_where_gradients_are_off(head: Head, forwards: list[Forward]) -> None:
    with torch.no_grad():
        found = heat_maps(head, forwards[0].features, positive=True)
    assert float(found[0].max()) > 0


def test_another_family_of_networks_is_refused_by_name(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.zeros(1, 8)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="EfficientNet family"):
        heads.load(tmp_path / "model.safetensors", WHOLE)


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
    assert overlaid(Image.new("RGB", size), [torch.rand(7, 7)]).size == expected


@pytest.mark.parametrize("size", [(10_000, 10), (10, 10_000), (10_000, 15), (701, 10), (11, 10)])
@pytest.mark.parametrize("crop_pct", [1.0, 0.8, 0.05])
def test_the_narrowest_photos_have_an_overlay(size: tuple[int, int], crop_pct: float) -> None:
    shown = overlaid(Image.new("RGB", size), [torch.rand(7, 7)], ModelSpec(version="1", crop_pct=crop_pct))
    scale = min(1, 512 / max(size))
    assert [abs(side - whole * scale) <= 1 for side, whole in zip(shown.size, size, strict=True)] == [True, True]


@pytest.mark.parametrize("heat", [0.0, 0.9 * LEAST_HEAT])
def test_an_empty_map_leaves_the_photo_alone_and_says_so(heat: float) -> None:
    image = photo(400, 300)
    shown = overlaid(image, [torch.full((3, 3), heat)])
    changed = difference(shown, opened(encode(image, "JPEG", quality=JPEG_QUALITY)))
    assert changed[:240].max() == 0
    assert changed[250:].max() > 50
    assert shown.info["comment"].decode() == EMPTY == EMPTY_HEATMAP.decode()


def test_a_map_with_heat_says_nothing_whatever_the_photo_says() -> None:
    image = photo()
    image.info["comment"] = EMPTY
    shown = overlaid(image, [torch.ones(3, 3)])
    assert not shown.info.get("comment")


@pytest.mark.parametrize("size", [(10, 10), (600, 10), (10, 600), (10, 10_000), (10_000, 10)])
def test_the_smallest_photos_have_an_empty_map_too(size: tuple[int, int]) -> None:
    shown = overlaid(Image.new("RGB", size), [torch.zeros(3, 3)])
    assert shown.info["comment"].decode() == EMPTY


def test_only_the_square_that_was_seen_is_coloured() -> None:
    image = photo(400, 200)
    shown = overlaid(image, [torch.ones(7, 7)])
    untouched = opened(encode(image, "JPEG", quality=JPEG_QUALITY))
    changed = difference(shown, untouched)
    assert changed[:, :80].max() == 0
    assert changed[:, 320:].max() == 0
    assert changed[:, 116:284].mean() > 20


def test_no_canvas_is_coloured() -> None:
    image = Image.new("RGB", (400, 400), "white")
    image.paste(photo(200, 160), (100, 120))
    changed = difference(overlaid(image, [torch.ones(7, 7)], ModelSpec(version="1", trim_canvas=True)), image)
    assert changed[150:250, 150:250].mean() > 20
    assert max(changed[:110].max(), changed[290:].max(), changed[:, :90].max(), changed[:, 310:].max()) < 8


def test_a_smaller_view_colours_a_smaller_square() -> None:
    shown = overlaid(photo(400, 400), [torch.ones(7, 7)], ModelSpec(version="1", crop_pct=0.5))
    changed = difference(shown, opened(encode(photo(400, 400), "JPEG", quality=JPEG_QUALITY)))
    assert changed[:80].max() == 0
    assert changed[320:].max() == 0
    assert changed[116:284, 116:284].mean() > 20


def test_heat_is_drawn_where_the_map_says() -> None:
    heat = torch.zeros(2, 2)
    heat[0, 1] = 1
    shown = pixels(overlaid(Image.new("RGB", (200, 200), (128, 128, 128)), [heat]))
    red, _, blue = shown[20, 180]
    assert red - blue > 60
    assert np.abs(shown[180, 20] - 128).max() < 8


def test_evidence_of_both_views_adds_where_they_overlap() -> None:
    spec = ModelSpec(version="1", details=1, detail_size=100)
    grey = Image.new("RGB", (400, 400), (128, 128, 128))
    shown = pixels(overlaid(grey, [torch.ones(7, 7), torch.ones(5, 5)], spec))
    hottest, half_as_hot = shown[200, 200], shown[60, 60]
    assert np.abs(hottest - (204, 51, 51)).max() < 8  # red at full opacity
    assert np.abs(half_as_hot - (166, 166, 90)).max() < 8  # yellow at half of it


def test_the_photo_itself_is_not_painted_on() -> None:
    image = photo()
    overlaid(image, [torch.ones(3, 3)])
    assert same(image, photo())
