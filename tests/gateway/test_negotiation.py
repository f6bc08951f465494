from __future__ import annotations

import pytest

from gateway.privacy import preferred

JSON, HTML = "application/json", "text/html"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/html", HTML),
        ("Text/HTML", HTML),
        ("text/*", HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        ("text/html, application/json", JSON),
        ("text/html;q=0.5, application/json;q=0.4", HTML),
        ("text/html;q=0.4, application/json;q=0.5", JSON),
        ("text/html;level=1;q=0.9, application/*;q=0.8", HTML),
        ("*/*, application/json;q=0.1", HTML),
        ("text/html;q=0", JSON),
        ("text/html;q=0, */*;q=0.1", JSON),
        ("image/png", JSON),
    ],
)
def test_the_best_liked_offer_is_chosen(accept: str, chosen: str) -> None:
    assert preferred(accept, (JSON, HTML)) == chosen


@pytest.mark.parametrize("accept", [",;q=", "text/html;q=2", "text/html;q=nan", 'text/html;q="', ";", "é;q=1"])
def test_nonsense_prefers_nothing(accept: str) -> None:
    assert preferred(accept, (JSON, HTML)) == JSON
