"""Files that are never half-written."""

from __future__ import annotations

import os
from pathlib import Path


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file under a temporary name in the same folder, then give it its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, file)  # noqa: PTH105 - named after what it is relied on for
