"""An API key as the gateway knows it: never the key itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ApiKey:
    """An accepted key: the id that logs and counters know it by, its SHA-256, and its own rates a minute."""

    id: str
    digest: bytes = field(repr=False)
    rates: Mapping[str, int] = field(default_factory=dict)
