"""docker/compose.yaml as data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stack.layout import ROOT

FOLDER = ROOT / "docker"


@dataclass(frozen=True)
class Service:
    """One service, as it stands there, with its defaults in the variables' places."""

    name: str
    said: dict[str, Any]

    def listed(self, key: str) -> list[str]:
        """Return a list of short entries, with defaults for variables."""
        return [_defaults(str(entry)) for entry in self.said.get(key, [])]

    def environment(self) -> dict[str, str]:
        """Return its environment."""
        return dict(self.said.get("environment", {}))

    def mounted_paths(self) -> list[Path]:
        """Return what it mounts of the checkout."""
        sources = [volume.split(":")[0] for volume in self.listed("volumes")]
        return [FOLDER / source for source in sources if source.startswith(".")]


def read(name: str = "compose.yaml") -> dict[str, Any]:
    """Return the file's content, anchors and merges resolved."""
    return dict(yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")))


def services(name: str = "compose.yaml") -> list[Service]:
    """Return the file's services."""
    return [Service(service, said) for service, said in read(name)["services"].items()]


def _defaults(text: str) -> str:
    return re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", text)
