"""The archive that is served, read for scoring."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

import handler
from handler import network
from handler.spec import InvalidSpecError, ModelSpec
from training.package import read_archive

DECIDING: Final = ("decision.py", "images.py", "network.py", "transforms.py")
"""Modules of the handler that a verdict depends on."""


class InvalidArchiveError(ValueError):
    """A file that is no archive of this detector, or one of another version of its code."""


@dataclass(frozen=True)
class Packed:
    """What an archive holds.

    Attributes:
        model: The network with its weights.
        spec: Its description.
        sha256: Of weights and description.
        other_code: Modules whose code is not the one that runs here, so that the service may answer otherwise.
    """

    model: nn.Module
    spec: ModelSpec
    sha256: str
    other_code: list[str]


def read_packed(archive: Path) -> Packed:
    """Read an archive.

    Raises:
        InvalidArchiveError: There is none, or none that this code can score by.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            spec, weights = read_archive(archive, Path(folder))
            digest = hashlib.sha256(json.dumps(spec.to_mapping(), sort_keys=True).encode() + weights.read_bytes())
            model = network.build(spec)
            model.load_state_dict(load_file(weights))
        return Packed(model, spec, digest.hexdigest(), _other_code(archive))
    except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, InvalidSpecError, SafetensorError) as error:
        raise InvalidArchiveError(f"{archive} is no archive that this code can score by: {error}") from error


def _other_code(archive: Path) -> list[str]:
    ours = Path(handler.__file__).parent
    with zipfile.ZipFile(archive) as packed:
        return [name for name in DECIDING if packed.read(f"handler/{name}") != (ours / name).read_bytes()]
