"""The packages that a lock names."""

from __future__ import annotations

import re

from stack.layout import ROOT

LOCKS = ROOT / "requirements"
_PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


def pinned(component: str) -> list[tuple[str, str]]:
    """Return the names and versions of a component's packages; of some there is one version for each Python."""
    return _PIN.findall((LOCKS / f"{component}.txt").read_text(encoding="utf-8"))
