import re

import pytest

from gateway.client.answers import DriftHistogram
from ui.service import histogram_html


def histogram(reference: list[float] | None, current: list[float] | None) -> DriftHistogram:
    return DriftHistogram(edges=[0.0, 0.5, 1.0], reference=reference, current=current)


def test_bars_are_as_high_as_their_shares() -> None:
    html = histogram_html(histogram([0.25, 0.75], [1.0, 0.0]))
    bars = re.findall(r'<rect class="(\w+)" x="[\d.]+" y="[\d.]+" width="[\d.]+" height="([\d.]+)"', html)
    full = 174.0  # of the axis, which ends at 100 %
    assert [(name, float(height)) for name, height in bars] == [
        ("reference", pytest.approx(full * 0.25, abs=0.1)),
        ("reference", pytest.approx(full * 0.75, abs=0.1)),
        ("current", full),
        ("current", 0.0),
    ]


def test_the_table_has_the_plots_numbers() -> None:
    html = histogram_html(histogram([0.25, 0.75], [1.0, 0.0]))
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", html)
    assert cells == [
        *("Score", "Reference", "Newest predictions"),
        *("0% to 50%", "25.0%", "100.0%"),
        *("50% to 100%", "75.0%", "0.0%"),
    ]


def test_a_distribution_that_is_not_there_is_left_out() -> None:
    html = histogram_html(histogram([0.25, 0.75], None))
    assert 'class="current"' not in html
    assert "Newest predictions" not in html
    assert histogram_html(histogram(None, None)) == '<p class="facts">There are no scores to plot yet.</p>'


def test_lines_are_at_round_shares() -> None:
    html = histogram_html(DriftHistogram(edges=[0.0, 0.1], reference=[0.27], current=None))
    assert re.findall(r'text-anchor="end">([\d%]+)</text>', html)[:4] == ["0%", "10%", "20%", "30%"]
