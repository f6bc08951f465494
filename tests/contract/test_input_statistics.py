"""The handler measures what the drift reference describes and the gateway knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from gateway.schemas import InputName
from handler.statistics import DEFINITIONS


def test_handler_gateway_and_the_shipped_reference_know_the_same_statistics() -> None:
    shipped = json.loads(Path("model_store/reference.json").read_text(encoding="utf-8"))
    assert get_args(InputName) == tuple(DEFINITIONS) == tuple(shipped["inputs"])
