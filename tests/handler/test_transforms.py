import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from handler.images import decode
from handler.spec import ModelSpec
from handler.transforms import as_pixels, content_box, normalise, to_views, view_boxes
from tests.handler.pictures import coffee, encode, photo, same

PLAIN = ModelSpec(version="1", input_size=96, mean=(0, 0, 0), std=(1, 1, 1))
DETAILED = dataclasses.replace(PLAIN, details=1, detail_size=96)


def whole(image: Image.Image, spec: ModelSpec) -> torch.Tensor:
    [view] = to_views(image, spec)
    return view


@pytest.mark.parametrize(
    ("size", "crop_pct", "box"),
    [
        ((100, 100), 1.0, (0, 0, 100, 100)),
        ((300, 100), 1.0, (100, 0, 200, 100)),
        ((100, 300), 1.0, (0, 100, 100, 200)),
        ((101, 100), 1.0, (0, 0, 100, 100)),
        ((300, 100), 0.5, (125, 25, 175, 75)),
        ((64, 48), 0.75, (14, 6, 50, 42)),
    ],
)
def test_the_view_is_the_centred_square(
    size: tuple[int, int], crop_pct: float, box: tuple[float, float, float, float]
) -> None:
    assert view_boxes(*size, ModelSpec(version="1", crop_pct=crop_pct)) == [box]


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((96, 96), (0, 0, 96, 96)),
        ((300, 200), (102, 52, 198, 148)),
        ((301, 201), (102, 52, 198, 148)),
        ((200, 60), (70, 0, 130, 60)),
        ((2048, 2048), (928, 928, 1120, 1120)),
        ((4096, 100), (1998, 0, 2098, 100)),
    ],
)
def test_a_single_detail_is_the_centre_at_native_resolution(
    size: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    assert view_boxes(*size, DETAILED)[1] == box


def test_details_divide_the_diagonal_evenly() -> None:
    square, *details = view_boxes(296, 496, dataclasses.replace(DETAILED, details=2))
    assert square == (0, 100, 296, 396)
    assert details == [(50, 100, 146, 196), (150, 300, 246, 396)]


def test_details_of_a_small_photo_slide_along_its_longer_side() -> None:
    details = view_boxes(180, 60, dataclasses.replace(DETAILED, details=2))[1:]
    assert details == [(30, 0, 90, 60), (90, 0, 150, 60)]


def test_a_detail_shows_native_pixels() -> None:
    image = photo(301, 201)
    _, details = to_views(image, DETAILED)
    assert details.shape == (1, 3, 96, 96)
    assert torch.equal(details, whole(image.crop((102, 52, 198, 148)), PLAIN))


def test_details_have_a_size_of_their_own() -> None:
    views = to_views(photo(300, 200), dataclasses.replace(DETAILED, details=3, detail_size=128))
    assert [tuple(alike.shape) for alike in views] == [(1, 3, 96, 96), (3, 3, 128, 128)]


def test_the_whole_is_seen_the_same_with_and_without_details() -> None:
    assert torch.equal(to_views(photo(), DETAILED)[0], whole(photo(), PLAIN))


@pytest.mark.parametrize("size", [(10, 10), (640, 480), (33, 777)])
def test_a_tensor_has_the_networks_size(size: tuple[int, int]) -> None:
    tensor = whole(Image.new("RGB", size), ModelSpec(version="1"))
    assert (tensor.shape, tensor.dtype, tensor.is_contiguous()) == ((1, 3, 224, 224), torch.float32, True)


def test_a_constant_colour_has_the_exact_normalised_value() -> None:
    spec = ModelSpec(version="1")
    tensor = whole(Image.new("RGB", (300, 200), (128, 0, 255)), spec)
    expected = [(128 / 255 - 0.485) / 0.229, (0 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert torch.allclose(tensor, torch.tensor(expected).view(3, 1, 1).expand_as(tensor), rtol=0, atol=1e-6)


def test_a_picture_of_the_networks_size_is_not_resampled() -> None:
    pixels = torch.from_numpy(np.array(photo(96, 96), dtype=np.float32)).permute(2, 0, 1) / 255
    assert torch.equal(whole(photo(96, 96), PLAIN)[0], pixels)


@pytest.mark.parametrize("size", [(400, 200), (200, 400), (200, 200)])
@pytest.mark.parametrize("crop_pct", [1.0, 0.8])
def test_a_circle_stays_a_circle(size: tuple[int, int], crop_pct: float) -> None:
    image = Image.new("RGB", size)
    x, y = size[0] / 2, size[1] / 2
    ImageDraw.Draw(image).ellipse((x - 50, y - 50, x + 50, y + 50), fill="white")
    inside = whole(image, ModelSpec(version="1", crop_pct=crop_pct, mean=(0, 0, 0), std=(1, 1, 1)))[0, 0] > 0.5
    height, width = int(inside.any(dim=1).sum()), int(inside.any(dim=0).sum())
    diameter = 100 / (200 * crop_pct) * 224
    assert abs(width - height) <= 1
    assert abs(width - diameter) <= 2


def test_fine_patterns_are_averaged_and_not_aliased() -> None:
    checkers = np.indices((960, 960)).sum(axis=0) % 2 * 255
    tensor = whole(Image.fromarray(checkers.astype(np.uint8)).convert("RGB"), PLAIN)
    assert torch.allclose(tensor, torch.full_like(tensor, 0.5), atol=0.01)


def test_what_lies_far_outside_the_square_changes_nothing() -> None:
    image = photo(300, 100)
    masked = image.copy()
    masked.paste("red", (0, 0, 90, 100))
    masked.paste("red", (210, 0, 300, 100))
    assert torch.equal(whole(image, PLAIN), whole(masked, PLAIN))


def test_an_image_gives_the_same_tensor_again_and_is_not_changed() -> None:
    image = photo()
    assert torch.equal(whole(image, PLAIN), whole(image, PLAIN))
    assert same(image, photo())


def test_channels_keep_their_order() -> None:
    tensor = normalise(as_pixels(Image.new("RGB", (4, 2), (255, 0, 51))), PLAIN)
    assert tensor.shape == (3, 2, 4)
    assert torch.equal(tensor[:, 0, 0], torch.tensor([1.0, 0.0, 0.2]))


CUP = decode(coffee().read_bytes())


def on_canvas(image: Image.Image, colour: str, margins: tuple[int, int, int, int]) -> Image.Image:
    """Return the image with margins of one colour at left, top, right and bottom, saved as a JPEG once."""
    left, top, right, bottom = margins
    canvas = Image.new("RGB", (image.width + left + right, image.height + top + bottom), colour)
    canvas.paste(image, (left, top))
    return decode(encode(canvas, "JPEG", quality=70))


@pytest.mark.parametrize("colour", ["white", "black", "grey"])
@pytest.mark.parametrize(
    "margins", [(40, 30, 40, 30), (25, 90, 60, 35), (0, 60, 0, 60), (80, 0, 80, 0), (300, 300, 300, 300)]
)
def test_the_network_sees_an_image_without_the_canvas_that_it_lies_on(
    colour: str, margins: tuple[int, int, int, int]
) -> None:
    image, spec = CUP.resize((450, 300)), dataclasses.replace(PLAIN, trim_canvas=True)
    left, top, _, _ = margins
    canvas = on_canvas(image, colour, margins)
    assert content_box(canvas) == pytest.approx((left, top, left + 450, top + 300), abs=6)
    assert (whole(image, spec) - whole(canvas, spec)).abs().mean() < 0.05


def product(radius: int) -> Image.Image:
    """Return a product that is cut out, with round corners."""
    image = Image.new("RGB", (400, 300), "white")
    ImageDraw.Draw(image).rounded_rectangle((100, 50, 300, 250), radius, "navy")
    return image


@pytest.mark.parametrize(
    "image",
    [
        CUP,
        product(100),
        product(25),
        Image.new("RGB", (300, 200), "white"),
        Image.new("RGB", (10, 10_000)),
        on_canvas(CUP, "white", (4, 4, 4, 4)),
        on_canvas(CUP, "white", (0, 0, 90, 90)),
        on_canvas(CUP.resize((45, 30)), "white", (90, 90, 90, 90)),
    ],
    ids=["no canvas", "a disc", "round corners", "blank", "a line", "narrow", "a corner", "tiny"],
)
def test_other_images_are_seen_whole(image: Image.Image) -> None:
    assert content_box(image) is None
