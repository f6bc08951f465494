"""The arguments that every stage takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.params import InvalidParamsError, Params, load
from training.paths import Paths


def parse_command_line(stage: str) -> tuple[Params, Paths, argparse.Namespace]:
    """Read the arguments that every stage has; `--resume` is of use to training alone."""
    parser = argparse.ArgumentParser(prog=f"python -m training.{stage}")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument(
        "--set", nargs="*", action="extend", default=[], metavar="SECTION.KEY=VALUE", help="override parameters"
    )
    parser.add_argument("--run", type=Path, default=Paths.run, help="folder of this run's checkpoints and figures")
    parser.add_argument("--store", type=Path, default=Paths.store, help="folder that TorchServe serves from")
    if stage == "train":
        parser.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    arguments = parser.parse_args()
    try:
        params = load(arguments.params, arguments.set)
    except InvalidParamsError as error:
        parser.error(str(error))
    return params, Paths(arguments.run, arguments.store), arguments
