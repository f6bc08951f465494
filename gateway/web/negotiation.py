"""Which representation an `Accept` header prefers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.request import parse_http_list

from python_multipart.multipart import parse_options_header

_QUALITY: Final = re.compile(rb"0(\.\d{0,3})?|1(\.0{0,3})?")


def preferred(accept: str, offers: Sequence[str]) -> str:
    """The offered media type that is liked best; the first when none is preferred or none is accepted."""
    ranges = [_parse(entry) for entry in parse_http_list(accept)]
    return max(offers, key=lambda offer: _liking(offer, ranges))  # the first of equals


def _parse(entry: str) -> tuple[str, float]:
    name, options = parse_options_header(entry)
    quality = options.get(b"q", b"1")
    return name.decode("latin-1"), float(quality) if _QUALITY.fullmatch(quality) else 0.0


def _liking(offer: str, ranges: list[tuple[str, float]]) -> tuple[float, int]:
    # RFC 9110: the most specific range that matches decides.
    matching = ("*/*", offer.partition("/")[0] + "/*", offer)
    found = [(matching.index(name), quality) for name, quality in ranges if name in matching]
    specificity, quality = max(found, default=(0, 0.0))
    return quality, specificity if quality else 0
