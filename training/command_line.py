"""The arguments that every stage takes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from training.params import InvalidParamsError, Params, load
from training.paths import Paths

LOOPBACK = "localhost,127.0.0.1,::1"


def parse_command_line(stage: str) -> tuple[Params, Paths, argparse.Namespace]:
    """Read the arguments that every stage has, and those of this one."""
    parser = argparse.ArgumentParser(prog=f"python -m training.{stage}")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument(
        "--set", nargs="*", action="extend", default=[], metavar="SECTION.KEY=VALUE", help="override parameters"
    )
    parser.add_argument("--run", type=Path, default=Paths.run, help="folder of this run's checkpoints and figures")
    parser.add_argument("--store", type=Path, default=Paths.store, help="folder that TorchServe serves from")
    parser.add_argument("--reports", type=Path, default=Paths.reports, help="folder of figures, plots and pages")
    if stage == "train":
        parser.add_argument("--resume", action="store_true", help="resume from the run's last checkpoint")
        parser.add_argument(
            "--resume-interrupted", action="store_true", help="resume only if this training was interrupted"
        )
        parser.add_argument("--fast-dev-run", action="store_true", help="run one batch per loop; write nothing")
    if stage == "validate":
        parser.add_argument("--strict", action="store_true", help="fail on findings, like validate.strict=true")
    if stage == "gate":
        parser.add_argument("--accept", action="store_true", help="make this evaluation the new baseline")
    arguments = parser.parse_args()
    _spare_loopback()
    strict = ["validate.strict=true"] if getattr(arguments, "strict", False) else []
    try:
        params = load(arguments.params, arguments.set + strict)
    except InvalidParamsError as error:
        parser.error(str(error))
    return params, Paths(arguments.run, arguments.store, arguments.reports), arguments


def _spare_loopback() -> None:
    """Let no proxy come between a stage and MLflow on this machine; a hub far away is asked as the environment says."""
    spared = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if spared.strip() != "*":
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, (spared, LOOPBACK)))
