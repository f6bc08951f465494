"""The distribution of scores beside the reference's: a small SVG, and its numbers as a table."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from gateway.client.answers import DriftHistogram

WIDTH, HEIGHT = 640, 226
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 12, 40
STEPS = (0.05, 0.1, 0.2, 0.25, 0.5)
LINES_MAX = 5


def histogram_html(histogram: DriftHistogram) -> str:
    """Draw both distributions bin by bin; a distribution that is not there is left out."""
    series = [
        (name, title, shares)
        for name, title, shares in (
            ("reference", "Reference", histogram.reference),
            ("current", "Newest predictions", histogram.current),
        )
        if shares is not None
    ]
    if not series:
        return '<p class="facts">There are no scores to plot yet.</p>'
    keys = "".join(f'<li class="{name}">{title}</li>' for name, title, _ in series)
    drawn = _svg(histogram.edges, [(name, shares) for name, _, shares in series])
    table = _table(histogram.edges, [(title, shares) for _, title, shares in series])
    return (
        f'<figure class="chart"><figcaption>How often each score came up</figcaption><ul class="keys">{keys}</ul>'
        f"{drawn}<details><summary>The same as a table</summary>{table}</details></figure>"
    )


def _svg(edges: Sequence[float], series: Sequence[tuple[str, Sequence[float]]]) -> str:
    step, top = _scale(max(share for _, shares in series for share in shares))
    lines = "".join(_line(number * step, top) for number in range(round(top / step) + 1))
    bars = "".join(
        _bar(name, place, len(series), bounds, share, top)
        for place, (name, shares) in enumerate(series)
        for bounds, share in zip(pairwise(edges), shares, strict=True)
    )
    ends = "".join(map(_tick, (0, 0.25, 0.5, 0.75, 1)))
    title = f'<text x="{_x(0.5):.1f}" y="{HEIGHT - 6}" text-anchor="middle">probability of AI generation</text>'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Bar chart of the scores; the table below has its numbers">'
        f"{lines}{bars}{ends}{title}</svg>"
    )


def _scale(highest: float) -> tuple[float, float]:
    """The distance of the lines, and the axis's end: the first line at or above the highest bar."""
    step = next((step for step in STEPS if highest <= step * LINES_MAX), STEPS[-1])
    lines = max(1, -int(-highest // step))
    return step, lines * step


def _line(share: float, top: float) -> str:
    y = _y(share, top)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>'
    )


def _tick(score: float) -> str:
    anchor = "end" if score == 1 else "middle"
    return f'<text x="{_x(score):.1f}" y="{HEIGHT - 22}" text-anchor="{anchor}">{score:.0%}</text>'


def _bar(name: str, place: int, of: int, bounds: tuple[float, float], share: float, top: float) -> str:  # noqa: PLR0913, PLR0917 - a rectangle's facts
    low, high = (_x(bound) for bound in bounds)
    width = (high - low) * 0.8 / of
    x = low + (high - low) * 0.1 + place * width
    y = _y(share, top)
    return (
        f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_y(0, top) - y:.1f}">'
        f"<title>{bounds[0]:.0%} to {bounds[1]:.0%}: {share:.1%}</title></rect>"
    )


def _x(score: float) -> float:
    return LEFT + score * (WIDTH - LEFT - RIGHT)


def _y(share: float, top: float) -> float:
    return HEIGHT - BOTTOM - share / top * (HEIGHT - TOP - BOTTOM)


def _table(edges: Sequence[float], series: Sequence[tuple[str, Sequence[float]]]) -> str:
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title, _ in series)
    rows = "".join(
        f'<tr><th scope="row">{low:.0%} to {high:.0%}</th>'
        + "".join(f"<td>{shares[number]:.1%}</td>" for _, shares in series)
        + "</tr>"
        for number, (low, high) in enumerate(pairwise(edges))
    )
    return f'<table><thead><tr><th scope="col">Score</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
