import re

from gateway.client.answers import DriftHistogram
from ui.service import histogram_html


def histogram(reference: list[float] | None, current: list[float] | None) -> DriftHistogram:
    return DriftHistogram(edges=[0.0, 0.5, 1.0], reference=reference, current=current)


def test_each_share_has_a_bar_beside_the_longest_ones() -> None:
    html = histogram_html(histogram([0.25, 0.5], [0.5, 0.0]))
    assert re.findall(r'<th scope="row">([^<]*)<', html) == ["0% to 50%", "50% to 100%"]
    assert re.findall(r'<td>([\d.%]+)<span class="(\w+)" style="width:(\d+)%">', html) == [
        ("25.0%", "reference", "50"),
        ("50.0%", "current", "100"),
        ("50.0%", "reference", "100"),
        ("0.0%", "current", "0"),
    ]


def test_a_distribution_that_is_not_there_is_left_out() -> None:
    html = histogram_html(histogram([0.25, 0.75], None))
    assert 'class="current"' not in html
    assert "Newest predictions" not in html
    assert histogram_html(histogram(None, None)) == '<p class="facts">There are no scores to plot yet.</p>'
