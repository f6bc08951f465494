"""The archive that is served, read for scoring."""

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from torch import nn

import handler
from handler import network
from handler.engines import CONSTANTS, Engine, OpenVinoEngine
from handler.spec import ModelSpec
from handler.torchserve_entry import GRAPH
from training.package import read_archive

DECIDING: Final = tuple(
    f"{name}.py" for name in ("colour", "engines", "files", "heads", "images", "network", "spec", "transforms")
)
"""Modules of the handler that a verdict depends on."""


class InvalidArchiveError(ValueError):
    """A file is not an archive of this detector, or is one of incompatible code."""


@dataclass(frozen=True)
class Packed:
    """What an archive holds.

    Attributes:
        model: The network with its weights.
        weights: File of these.
        graph: File of the network as CPUs are served it; None in older archives.
        spec: Its description.
        sha256: Of weights and description.
        other_code: Modules whose code is not the one that runs here, so that the service may answer otherwise.
    """

    model: nn.Module
    weights: Path
    graph: Path | None
    spec: ModelSpec
    sha256: str
    other_code: list[str]

    def engine(self, threads: int, precision: str) -> Engine:
        """Return what runs the graph on so many threads of the CPU.

        Raises:
            InvalidArchiveError: The archive has no graph.
        """
        if self.graph is None:
            raise InvalidArchiveError("an archive without a graph: repack its model with `python -m training.repack`")
        return OpenVinoEngine(self.graph, self.weights, self.spec, streams=threads, precision=precision)


def read_packed(archive: Path, folder: Path) -> Packed:
    """Read an archive, with its files unpacked into a folder.

    Raises:
        InvalidArchiveError: There is none, or none that this code can score by.
    """
    try:
        spec, weights = read_archive(archive, folder)
        digest = hashlib.sha256(json.dumps(spec.to_mapping(), sort_keys=True).encode() + weights.read_bytes())
        model = network.load(spec, weights)
        return Packed(model, weights, _graph(archive, folder), spec, digest.hexdigest(), _other_code(archive))
    except (OSError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile, SafetensorError) as error:
        raise InvalidArchiveError(f"{archive} is not an archive that this code can use: {error}") from error


def _graph(archive: Path, folder: Path) -> Path | None:
    with zipfile.ZipFile(archive) as packed:
        if GRAPH not in packed.namelist():
            return None
        packed.extractall(folder, [GRAPH, Path(GRAPH).with_suffix(CONSTANTS).name])
        return folder / GRAPH


def _other_code(archive: Path) -> list[str]:
    ours = Path(handler.__file__).parent
    with zipfile.ZipFile(archive) as packed:
        theirs = {name: packed.read(f"handler/{name}") for name in DECIDING if f"handler/{name}" in packed.namelist()}
    return [name for name in DECIDING if theirs.get(name) != (ours / name).read_bytes()]
