"""HTML pages that stand alone: what they show is within them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2

from training.atomic import write_bytes


def write(file: Path, **values: Any) -> None:  # noqa: ANN401 - whatever the template shows
    """Write a page from the template of the same name."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_bytes(file, environment.get_template(file.name).render(values).encode())


def data_uri(content: bytes, kind: str) -> str:
    """Return an image as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
