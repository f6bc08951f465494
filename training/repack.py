"""Pack an archive's model again with today's handler code: as another version, or with other settings of serving."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from training.package import MODEL_NAME, SERVING, build_archive, read_archive


class UnknownSettingError(ValueError):
    """A setting of serving that no archive has."""


def run(archive: Path, version: str, serving: Mapping[str, Any] | None = None) -> Path:
    """Write `product-photo-detector-VERSION.mar` beside the archive and return its path.

    Raises:
        UnknownSettingError: `serving` has a name that is not one of an archive's settings.
    """
    chosen = dict(serving or {})
    if unknown := sorted(set(chosen) - set(SERVING)):
        raise UnknownSettingError(f"no settings of serving: {', '.join(unknown)}; there are {', '.join(SERVING)}")
    with tempfile.TemporaryDirectory() as folder:
        spec, weights = read_archive(archive, Path(folder))
        spec = dataclasses.replace(spec, version=version)
        return build_archive(spec, weights, archive.with_name(f"{MODEL_NAME}-{version}.mar"), chosen)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.repack", description=__doc__)
    parser.add_argument("version")
    parser.add_argument("--archive", type=Path, default=Path("model_store") / f"{MODEL_NAME}.mar")
    parser.add_argument("--serving", type=Path, help="YAML of settings, as `make tune` writes it")
    arguments = parser.parse_args()
    serving = yaml.safe_load(arguments.serving.read_text(encoding="utf-8")) if arguments.serving else None
    try:
        print(run(arguments.archive, arguments.version, serving))
    except UnknownSettingError as error:
        raise SystemExit(f"repack: {error}") from error


if __name__ == "__main__":
    main()
