"""The most that the gateway's settings allow is what the model server takes."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.settings import MOST, Settings
from handler import images


def test_the_gateway_knows_what_the_model_server_takes() -> None:
    (size,) = re.findall(r"^max_request_size=(\d+)$", Path("config.properties").read_text(), re.MULTILINE)
    assert {"max_file_bytes": int(size), "max_side_pixels": images.MOST_SIDE, "max_pixels": images.MOST_PIXELS} == MOST


def test_whoever_calls_the_model_server_without_limits_has_the_gateways_defaults() -> None:
    limits = Settings().image_limits()
    ours = images.DEFAULT_LIMITS
    assert (limits.min_side, limits.max_side, limits.max_pixels) == (ours.min_side, ours.max_side, ours.max_pixels)
