"""Pack an archive's model again with today's handler code: as another version, or with other settings of serving."""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from handler.spec import InvalidSpecError, ModelSpec
from training.files import MODEL_NAME, Paths, StageError, refusals, unpack
from training.package import SERVING, build_archive


def run(archive: Path, version: str, serving: Mapping[str, Any] | None = None, base_rate: float | None = None) -> Path:
    """Write `product-photo-detector-VERSION.mar` beside the archive and return its path.

    Raises:
        InvalidSpecError: The archive's spec cannot be read, or the base rate is none.
        StageError: `serving` has a name that is not one of an archive's settings.
    """
    chosen = dict(serving or {})
    if unknown := sorted(set(chosen) - set(SERVING)):
        raise StageError(f"unknown serving settings: {', '.join(unknown)}; valid: {', '.join(SERVING)}")
    with tempfile.TemporaryDirectory() as folder:
        fields, weights = unpack(archive, Path(folder))
        if "threshold" in fields:  # of archives before 2.0.0, which decided there on the probability for equal shares
            fields["base_rate"] = round(1 - fields.pop("threshold"), 4)
        if base_rate is not None:
            fields |= {"base_rate": base_rate, "operating_point": ""}
            fields |= {"true_positive_rate": None, "false_positive_rate": None}
        spec = ModelSpec.from_mapping(fields | {"version": version})
        return build_archive(spec, weights, archive.with_name(f"{MODEL_NAME}-{version}.mar"), SERVING | chosen)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.repack", description=__doc__)
    parser.add_argument("version")
    parser.add_argument("--archive", type=Path, default=Paths().archive)
    parser.add_argument("--serving", type=Path, help="YAML file of serving settings, as written by `make tune`")
    parser.add_argument(
        "--base-rate", type=float, help="share of AI-generated images that probabilities assume, 0 to 1"
    )
    arguments = parser.parse_args()
    serving = yaml.safe_load(arguments.serving.read_text(encoding="utf-8")) if arguments.serving else None
    with refusals("repack", InvalidSpecError):
        print(run(arguments.archive, arguments.version, serving, arguments.base_rate))


if __name__ == "__main__":
    main()
