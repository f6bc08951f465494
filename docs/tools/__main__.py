"""Brings up to date what the documentation derives: `python -m docs.tools`, which `make docs` does."""

from __future__ import annotations

import re
from pathlib import Path

from docs.tools import costs, diagram

DOCS = Path(__file__).parents[1]
BLOCK = re.compile(r"(?<=<!-- costs: begin -->\n).*?(?=\n<!-- costs: end -->)", re.DOTALL)


def derived() -> dict[Path, str]:
    """Return what each derived file should hold."""
    page = DOCS / "COSTS.md"
    return {
        DOCS / "architecture.svg": diagram.draw(diagram.read(DOCS / "architecture.yaml")),
        page: BLOCK.sub(lambda _: costs.example(), page.read_text(encoding="utf-8")),
    }


def main() -> None:
    """Write them."""
    for file, text in derived().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
