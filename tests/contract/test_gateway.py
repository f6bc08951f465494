"""What gateway and handler say of the same things, neither importing the other."""

import json
import re
from pathlib import Path
from typing import get_args

from gateway.schemas import InputName
from gateway.settings import MOST, Settings
from handler import images
from handler.statistics import DEFINITIONS


def test_the_gateway_knows_what_the_model_server_takes() -> None:
    (size,) = re.findall(r"^max_request_size=(\d+)$", Path("config.properties").read_text(), re.MULTILINE)
    assert {"max_file_bytes": int(size), "max_pixels": images.MOST_PIXELS} == MOST
    assert Settings(max_pixels=images.MOST_PIXELS).max_side_pixels <= images.MOST_SIDE


def test_whoever_calls_the_model_server_without_limits_has_the_gateways_defaults() -> None:
    limits, ours = Settings(), images.DEFAULT_LIMITS
    theirs = (limits.min_side_pixels, limits.max_side_pixels, limits.max_pixels)
    assert theirs == (ours.min_side, ours.max_side, ours.max_pixels)


def test_handler_gateway_and_the_shipped_reference_know_the_same_statistics() -> None:
    shipped = json.loads(Path("model_store/reference.json").read_text(encoding="utf-8"))
    assert get_args(InputName) == tuple(DEFINITIONS) == tuple(shipped["inputs"])
