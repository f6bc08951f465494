"""The public HTTP API: a small Starlette application in front of TorchServe."""

import functools
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

NAME: Final = "ai-product-photo-detector"
"""Of the service, and of the distribution that it comes in."""


@functools.cache
def read_version() -> str:
    """The project's version: from its `pyproject.toml` in a checkout, else from the installed package."""
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    if pyproject.is_file():
        return str(tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["version"])
    return metadata.version(NAME)
