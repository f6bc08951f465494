"""The archives in a model store, the one that holds a version of the model, and copies with other settings."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stack.layout import StackError
from stack.torchserve import ARCHIVE, MODEL, check_archive

MANIFEST = "MAR-INF/MANIFEST.json"
CONFIG = "model-config.yaml"


@dataclass(frozen=True)
class Archive:
    """An archive and its declared version; None if it cannot be read."""

    path: Path
    version: str | None


def archives(store: Path) -> list[Archive]:
    """Return all archives of the model, in the order of their names."""
    return [Archive(path, _version(path)) for path in sorted(store.glob(f"{MODEL}*.mar"))]


def find(store: Path, version: str) -> Archive:
    """Return the archive that holds a version, by preference one that is not the archive of the first start.

    Raises:
        StackError: There is none, or it is broken.
    """
    there = archives(store)
    held = [archive for archive in there if archive.version == version]
    if not held:
        raise StackError(f"no archive of version {version} in {store}; available: {_named(there)}")
    chosen = next((archive for archive in held if archive.path.name != ARCHIVE), held[0])
    check_archive(chosen.path)
    return chosen


def with_config(archive: Path, to: Path, changes: dict[str, Any]) -> None:
    """Copy an archive with other values in its model-config.yaml."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, yaml.safe_dump(yaml.safe_load(content) | changes) if name == CONFIG else content)


def _named(there: list[Archive]) -> str:
    return ", ".join(f"{one.version or 'a broken one'} ({one.path.name})" for one in there) or "none at all"


def _version(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as packed:
            return str(json.loads(packed.read(MANIFEST))["model"]["modelVersion"])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, OSError):
        return None
