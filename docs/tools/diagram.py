"""Draws the picture of the architecture from `docs/architecture.yaml` as an SVG that suits light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import yaml

COLUMN, ROW, GAP_X, GAP_Y, MARGIN = 220, 80, 60, 50, 34
TITLE_PX, LINE_PX, LABEL_PX = 15, 12, 11
LETTER = 0.56
"""A letter's mean width beside its height, in the fonts that browsers take here."""
OUTWARD = {"left": (0.0, None), "right": (1.0, None), "top": (None, 0.0), "bottom": (None, 1.0)}
STYLE = """
  .ground { fill: #ffffff } .box { fill: #eef2f7; stroke: #5b6b7f } .ours { fill: #dbeafe; stroke: #1d4ed8 }
  .zone { fill: none; stroke: #5b6b7f; stroke-dasharray: 6 5 } .way { fill: none; stroke: #334155; stroke-width: 1.5 }
  .head { fill: #334155 } text { font-family: system-ui, sans-serif; fill: #0f172a } .line, .label { fill: #334155 }
  .label { paint-order: stroke; stroke: #ffffff; stroke-width: 5px }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #12161d } .box { fill: #1f2733; stroke: #8899ad } .ours { fill: #172f57; stroke: #7fb0ff }
    .zone { stroke: #8899ad } .way { stroke: #c3cfdd } .head { fill: #c3cfdd }
    text { fill: #f1f5f9 } .line, .label { fill: #c3cfdd } .label { stroke: #12161d }
  }
"""


@dataclass(frozen=True)
class Box:
    """A part of the system at a place of the grid; `package` is the folder of this project that it is made of."""

    title: str
    lines: tuple[str, ...]
    column: int
    row: int
    columns: int = 1
    rows: int = 1
    package: str | None = None

    @property
    def left(self) -> float:
        """Its left edge in pixels, as are the others."""
        return MARGIN + self.column * (COLUMN + GAP_X)

    @property
    def top(self) -> float:
        """Its upper edge."""
        return MARGIN + self.row * (ROW + GAP_Y)

    @property
    def width(self) -> float:
        """Its width, gaps between its columns included."""
        return self.columns * (COLUMN + GAP_X) - GAP_X

    @property
    def height(self) -> float:
        """Its height, gaps between its rows included."""
        return self.rows * (ROW + GAP_Y) - GAP_Y

    @property
    def heading(self) -> str:
        """Title and folder, as they are drawn."""
        return f"{self.title} · {self.package}/" if self.package else self.title

    def point(self, side: str, share: float) -> tuple[float, float]:
        """Return the point at a share of a side's length."""
        x, y = OUTWARD[side]
        return (
            self.left + self.width * (share if x is None else x),
            self.top + self.height * (share if y is None else y),
        )


@dataclass(frozen=True)
class Arrow:
    """A way between two boxes, straight or with one bend, and what goes along it."""

    start: tuple[float, float]
    end: tuple[float, float]
    sideways: bool
    label: str

    @property
    def ways(self) -> list[tuple[float, float]]:
        """Start, bend where there is one, end."""
        (x, y), (to_x, to_y) = self.start, self.end
        bend = (to_x, y) if self.sideways else (x, to_y)
        return [self.start, self.end] if bend in {self.start, self.end} else [self.start, bend, self.end]


@dataclass(frozen=True)
class Diagram:
    """All that is drawn."""

    title: str
    boxes: Mapping[str, Box]
    zones: tuple[tuple[tuple[str, ...], str], ...]
    arrows: tuple[Arrow, ...]


def read(source: Path) -> Diagram:
    """Read a diagram."""
    found = yaml.safe_load(source.read_text(encoding="utf-8"))
    boxes = {name: Box(**{**box, "lines": tuple(box["lines"])}) for name, box in found["boxes"].items()}
    zones = tuple((tuple(zone["boxes"]), zone["label"]) for zone in found["zones"])
    return Diagram(found["title"], boxes, zones, tuple(_arrow(boxes, arrow) for arrow in found["arrows"]))


def draw(diagram: Diagram) -> str:
    """Return the diagram as an SVG."""
    width = max(box.left + box.width for box in diagram.boxes.values()) + MARGIN
    height = max(box.top + box.height for box in diagram.boxes.values()) + MARGIN
    parts = [_zone([diagram.boxes[name] for name in names], label) for names, label in diagram.zones]
    parts += [_draw_box(box) for box in diagram.boxes.values()] + [_draw_arrow(arrow) for arrow in diagram.arrows]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">\n'
        f"<title>{escape(diagram.title)}</title>\n<style>{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto"><path class="head" d="M0 0 10 5 0 10z"/></marker></defs>\n'
        f'<rect class="ground" width="{width:g}" height="{height:g}" rx="10"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def text_width(text: str, pixels: int) -> float:
    """Return about how wide a text is."""
    return len(text) * pixels * LETTER


def _arrow(boxes: Mapping[str, Box], arrow: Mapping[str, Any]) -> Arrow:
    start_box, start_side, *start_share = arrow["from"].split()
    end_box, end_side, *end_share = arrow["to"].split()
    start = boxes[start_box].point(start_side, float(*start_share or [0.5]))
    end = boxes[end_box].point(end_side, float(*end_share or [0.5]))
    sideways = start_side in {"left", "right"}
    if sideways and end_side in {"left", "right"}:
        start = (start[0], end[1])  # straight, at the height that the target names
    return Arrow(start, end, sideways, arrow.get("label", ""))


def _draw_box(box: Box) -> str:
    middle, lines = box.left + box.width / 2, len(box.lines)
    first = box.top + box.height / 2 - lines * (LINE_PX + 4) / 2 + TITLE_PX / 2 - 4
    said = [
        f'<text class="line" x="{middle:g}" y="{first + 20 + index * (LINE_PX + 4):g}" font-size="{LINE_PX}" '
        f'text-anchor="middle">{escape(line)}</text>'
        for index, line in enumerate(box.lines)
    ]
    return (
        f'<rect class="{"ours" if box.package else "box"}" x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" '
        f'height="{box.height:g}" rx="8"/>\n<text x="{middle:g}" y="{first:g}" font-size="{TITLE_PX}" '
        f'font-weight="600" text-anchor="middle">{escape(box.heading)}</text>\n' + "\n".join(said)
    )


def _draw_arrow(arrow: Arrow) -> str:
    ways = arrow.ways
    (x, y), (to_x, to_y) = max(pairwise(ways), key=lambda pair: math.dist(*pair))
    line = "L".join(f"{a:g} {b:g}" for a, b in ways)
    drawn = f'<path class="way" d="M{line}" marker-end="url(#head)"/>'
    if not arrow.label:
        return drawn
    return (
        f'{drawn}\n<text class="label" x="{(x + to_x) / 2:g}" y="{(y + to_y) / 2 - (6 if y == to_y else -4):g}" '
        f'font-size="{LABEL_PX}" text-anchor="middle">{escape(arrow.label)}</text>'
    )


def _zone(boxes: list[Box], label: str) -> str:
    pad = 14
    left, top = min(box.left for box in boxes) - pad, min(box.top for box in boxes) - pad
    right, bottom = max(box.left + box.width for box in boxes) + pad, max(box.top + box.height for box in boxes) + pad
    return (
        f'<rect class="zone" x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}" rx="12"/>\n'
        f'<text class="label" x="{(left + right) / 2:g}" y="{top - 6:g}" font-size="{LABEL_PX}" '
        f'text-anchor="middle">{escape(label)}</text>'
    )
