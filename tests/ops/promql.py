"""Names in PromQL: the metrics that an expression takes and the labels that it speaks of."""

from __future__ import annotations

import re

WORDS = frozenset(
    {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset"}
)
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
SELECTOR = re.compile(r"\{([^}]*)\}")


def metrics_of(expression: str) -> set[str]:
    """All metrics that an expression names."""
    bare = STRING.sub("", expression)
    for other in (GROUPING, SELECTOR, re.compile(r"\[[^\]]*\]")):
        bare = other.sub(" ", bare)
    found = re.findall(r"(?<![\w:.$])([A-Za-z_:][\w:]*)\s*(\(?)", bare)
    return {name for name, call in found if not call and name not in WORDS}


def labels_of(expression: str) -> set[str]:
    """All labels that an expression selects or groups by."""
    bare = STRING.sub('""', expression)
    selected = [name for inside in SELECTOR.findall(bare) for name in re.findall(r"(\w+)\s*[=!]", inside)]
    grouped = [name for inside in GROUPING.findall(bare) for name in re.findall(r"\w+", inside)]
    return {*selected, *grouped}
