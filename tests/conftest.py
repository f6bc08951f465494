"""What all tests share: real photographs that installed packages carry."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

STARTS_SLOWLY = {"stack", "browser", "page_address", "pipeline", "frozen_pipeline"}
"""Fixtures of a TorchServe, a browser, the page's process, and of a run of all stages of training."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow whatever starts the product; other slow tests say so themselves."""
    for item in items:
        if "e2e" in item.path.parts or STARTS_SLOWLY & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def coffee() -> Path:
    """A real photograph, PNG, 600 x 400."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / "coffee.png"


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """Ctrl-C reaches what tests start, also where a script runs them in its background and so has it ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)
