"""Give an archive's model another version: the same weights and spec, today's handler code."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

from training.package import MODEL_NAME, build_archive, read_archive


def run(archive: Path, version: str) -> Path:
    """Write `product-photo-detector-VERSION.mar` beside the archive and return its path."""
    with tempfile.TemporaryDirectory() as folder:
        spec, weights = read_archive(archive, Path(folder))
        spec = dataclasses.replace(spec, version=version)
        return build_archive(spec, weights, archive.with_name(f"{MODEL_NAME}-{version}.mar"))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.repack", description=__doc__)
    parser.add_argument("version")
    parser.add_argument("--archive", type=Path, default=Path("model_store") / f"{MODEL_NAME}.mar")
    arguments = parser.parse_args()
    print(run(arguments.archive, arguments.version))


if __name__ == "__main__":
    main()
