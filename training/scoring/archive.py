"""The archive that is served, read for scoring."""

import argparse
import filecmp
import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from torch import nn

import handler
from handler import engines, network
from handler.spec import ModelSpec
from training.data.manifest import Photo, of_split, read_manifest
from training.files import Paths, StageError, refusals, unpack

DECIDING: Final = tuple(
    f"{name}.py" for name in ("colour", "engines", "files", "heads", "images", "network", "spec", "transforms")
)
"""Modules of the handler that a verdict depends on."""


@dataclass(frozen=True)
class Packed:
    """What an archive holds.

    Attributes:
        model: The network with its weights.
        weights: File of these.
        graph: File of the network as CPUs are served it.
        spec: Its description.
        sha256: Of weights and description.
        other_code: Modules whose code is not the one that runs here, so that the service may answer otherwise.
    """

    model: nn.Module
    weights: Path
    graph: Path
    spec: ModelSpec
    sha256: str
    other_code: list[str]

    def engine(self, threads: int, precision: str) -> engines.Engine:
        """Return what runs the graph on so many threads of the CPU."""
        return engines.OpenVinoEngine(self.graph, self.weights, self.spec, streams=threads, precision=precision)


def read_packed(archive: Path, folder: Path) -> Packed:
    """Read an archive, with its files unpacked into a folder.

    Raises:
        StageError: There is none, or none that this code can score by.
    """
    try:
        fields, weights = unpack(archive, folder)
        spec, graph = ModelSpec.from_mapping(fields), folder / Paths().graph.name
        graph.stat()  # fails where there is none
        digest = hashlib.sha256(json.dumps(spec.to_mapping(), sort_keys=True).encode() + weights.read_bytes())
        ours, theirs = Path(handler.__file__).parent, folder / "handler"
        _, other, absent = filecmp.cmpfiles(ours, theirs, DECIDING, shallow=False)
        model = network.load(spec, weights)
        return Packed(model, weights, graph, spec, digest.hexdigest(), sorted([*other, *absent]))
    except (OSError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile, SafetensorError) as error:
        raise StageError(f"{archive} is not an archive that this code can use: {error}") from error


@contextmanager
def archive_and_dev(
    command: str, about: str | None, precisions: Sequence[str] = ()
) -> Iterator[tuple[Packed, argparse.Namespace, list[Photo]]]:
    """Parse a command line and give its archive, its arguments `data` and, if there are any, `precision`, and dev.

    `precisions` are what the option may be, the first by default; `about` is the docstring of the command's module.
    """
    parser = argparse.ArgumentParser(prog=f"python -m training.scoring.{command}", description=about)
    parser.add_argument("--archive", type=Path, default=Paths().archive)
    parser.add_argument("--data", type=Path, default=Path("data/photos"), help="folder with a manifest.csv")
    if precisions:
        parser.add_argument("--precision", choices=precisions, default=precisions[0])
    arguments = parser.parse_args()
    with refusals(command), tempfile.TemporaryDirectory() as folder:
        photos = of_split(read_manifest(arguments.data, Path("manifest.csv")), "dev")
        yield read_packed(arguments.archive, Path(folder)), arguments, photos
