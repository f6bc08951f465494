"""The one deterministic path from an image to a network input: validation, test, calibration and serving."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageChops

from handler.spec import ModelSpec

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""
Views = Sequence[torch.Tensor]
"""What the network sees of an image: a tensor of shape (V, 3, side, side) for each size that its V views have."""
Pixels = Sequence[torch.Tensor]
"""The same before normalisation: for each size a uint8 tensor of shape (V, side, side, 3)."""
DETAIL_LONG_SIDE = 1024
"""Pixels; of an image with a longer side the details show what a copy of this long side would."""
CANVAS_LONG_SIDE = 512
"""Pixels; a larger image is averaged to at most this before a canvas is looked for."""
CANVAS_LEVELS = 12
"""Of 255; what differs by no more from the corners is canvas: compression adds noise."""
CANVAS_SHARE = 0.02
"""Of a side; the least that a canvas takes at each of its two ends."""
CANVAS_SPECKS = 0.005
"""Of a line; a line of which no more differs is canvas, with some dirt."""
EDGE_LINES = 16
"""Compression blurs as many lines around an edge, a block of JPEG's colours."""
EDGE_SHARE = 0.6
"""Of a line; the least that differs where an image begins."""
CORNER_SHARE = 0.5
"""Of the 3 x 3 pixels of a corner; the least that differs there."""
LEAST_CONTENT = 32
"""Lines; an image on a canvas has as many."""


def content_box(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Return where an RGB image lies on a canvas of one colour, such as shops and players add; None if on none.

    The canvas surrounds the image or lies at two opposite sides of it. Unlike a product that is cut out, the image
    begins with straight edges, and no more than one of its corners is like the canvas.
    """
    right, bottom = image.width - 1, image.height - 1
    corners = np.array([image.getpixel(place) for place in ((0, 0), (right, 0), (0, bottom), (right, bottom))])
    ground = np.median(corners, axis=0).astype(int)
    if np.abs(corners - ground).max() > CANVAS_LEVELS:
        return None
    factor = -(-max(image.size) // CANVAS_LONG_SIDE)
    copy = image.reduce(factor)
    apart = ImageChops.difference(copy, Image.new("RGB", copy.size, tuple(ground.tolist())))
    filled = np.asarray(reduce(ImageChops.lighter, apart.split())) > CANVAS_LEVELS
    rows, columns = (_extent(filled.mean(axis=axis)) for axis in (1, 0))
    extent = filled[slice(*rows), slice(*columns)]
    (top, bottom), (left, right) = _edges(*rows, extent.mean(axis=1)), _edges(*columns, extent.mean(axis=0))
    content = filled[top:bottom, left:right]
    if content.shape == filled.shape or min(content.shape) < LEAST_CONTENT:
        return None
    ends = [0, 1, 2, -3, -2, -1]
    if np.count_nonzero(content[np.ix_(ends, ends)].reshape(2, 3, 2, 3).mean(axis=(1, 3)) < CORNER_SHARE) > 1:
        return None
    return left * factor, top * factor, min(right * factor, image.width), min(bottom * factor, image.height)


def _extent(filled: NDArray[np.float64]) -> tuple[int, int]:
    """Return where lines begin and end to hold more than specks; all of them if there is no canvas at both ends."""
    found = np.flatnonzero(filled > CANVAS_SPECKS)
    if not len(found) or min(found[0], len(filled) - 1 - found[-1]) < CANVAS_SHARE * len(filled):
        return 0, len(filled)
    return int(found[0]), int(found[-1]) + 1


def _edges(start: int, stop: int, filled: NDArray[np.float64]) -> tuple[int, int]:
    """Return where an image begins and ends within an extent, without its outermost lines, which hold canvas too.

    Nothing is left if an edge is not within the lines that compression blurs.
    """
    if not start:
        return start, stop
    found = np.flatnonzero(filled > EDGE_SHARE)
    if not len(found) or max(found[0], len(filled) - 1 - found[-1]) >= EDGE_LINES:
        return start, start
    return start + int(found[0]) + 1, start + int(found[-1])


def view_boxes(width: int, height: int, spec: ModelSpec) -> list[Box]:
    """Return the squares that the network sees: the centred one of the shorter side, then details along the diagonal.

    Details are not scaled, so that they keep the fine traces that scaling destroys; of an image that is smaller than
    they are they are shown larger, of one that is longer than 1,024 px smaller. Their places divide the diagonal
    evenly: a single detail is the centre, of two each is halfway between the centre and a corner.
    """
    shorter = min(width, height)
    side = min(shorter, spec.detail_size * max(1, max(width, height) / DETAIL_LONG_SIDE))
    places = [(2 * step + 1) / (2 * spec.details) for step in range(spec.details)]
    return [
        _square(width, height, spec.crop_pct * shorter, 0.5),
        *(_square(width, height, side, place) for place in places),
    ]


def see(image: Image.Image, spec: ModelSpec) -> tuple[Pixels, list[Box]]:
    """Cut and scale an RGB image to what the network sees; return this and its views' boxes in the image.

    First comes the whole, or what lies on a canvas where that is left out, then the details if there are any.
    """
    content = content_box(image) if spec.trim_canvas else None
    seen = image.crop(content) if content else image  # scaling a box instead would blend the canvas into its edges
    boxes = view_boxes(*seen.size, spec)
    sizes = [(spec.input_size, boxes[:1]), (spec.detail_size, boxes[1:])]
    pixels = [torch.stack([_view(seen, box, side) for box in places]) for side, places in sizes if places]
    x, y, *_ = content or (0, 0)
    return pixels, [(left + x, top + y, right + x, bottom + y) for left, top, right, bottom in boxes]


def to_pixels(image: Image.Image, spec: ModelSpec) -> Pixels:
    """Return what the network sees of an RGB image; see `see`."""
    return see(image, spec)[0]


def to_views(image: Image.Image, spec: ModelSpec) -> Views:
    """Turn an RGB image into normalised views, float32: the whole, and the details if there are any."""
    return [normalise(alike, spec) for alike in to_pixels(image, spec)]


def as_pixels(image: Image.Image) -> torch.Tensor:
    """Return an RGB image as a uint8 tensor of shape (height, width, 3)."""
    return torch.from_numpy(np.array(image))


def normalise(pixels: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Turn uint8 pixels of shape (..., height, width, 3) into a normalised float32 tensor (..., 3, height, width)."""
    values = pixels.movedim(-1, -3).float() / 255
    mean, std = (values.new_tensor(channels).view(3, 1, 1) for channels in (spec.mean, spec.std))
    return ((values - mean) / std).contiguous()


def _view(image: Image.Image, box: Box, side: int) -> torch.Tensor:
    return as_pixels(image.resize((side, side), Image.Resampling.BICUBIC, box=box))


def _square(width: int, height: int, side: float, place: float) -> Box:
    """Return a square on the image's diagonal, at a share of the room that it has; 0.5 is the centre."""
    left, top = (width - side) * place, (height - side) * place
    if side == round(side):  # whole pixels, or a view at native resolution would be blurred by half a pixel
        left, top = int(left), int(top)
    return left, top, left + side, top + side
