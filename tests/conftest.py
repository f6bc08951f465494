"""What all tests share: real photographs that installed packages carry."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def coffee() -> Path:
    """A real photograph, PNG, 600 x 400."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / "coffee.png"
