"""What the gateway costs, against a null back end and beside a bare Starlette echo: `python -m benchmarks.gateway`."""

import argparse
import json
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image
from rich.console import Console

from benchmarks.load import Comparison, Round, measure, table
from benchmarks.stacks import Target, running_target
from deploy.local.demo import sample_photo

SIZES: Final = {"100kB": (600, 95), "1MB": (3600, 92)}
"""Width in pixels and JPEG quality of the sample photo that come to this size."""
WIDTH: Final = 140
"""Characters of a line, so that the table is whole in a log as well."""


@dataclass(frozen=True)
class Plan:
    """How much is measured: rounds, and in each so many requests one by one and so many at the same time."""

    rounds: int
    alone: int
    together: int
    connections: int


def main() -> None:
    """Run the benchmark from the command line."""
    arguments = _parse()
    plan = Plan(arguments.rounds, arguments.alone, arguments.together, arguments.connections)
    photo = sample(arguments.photo)
    found = run(plan, photo)
    if arguments.json:
        print(json.dumps(found.as_json() | {"photo_bytes": len(photo)}, indent=2))
        return
    console = Console(highlight=False, width=WIDTH)
    console.print(f"{len(photo) / 1000:.0f} kB JPEG; a round is {plan.alone} requests one by one, then {plan.together}")
    console.print(f"over {plan.connections} connections; CPU seconds are those of the measured process alone")
    console.print(table(found))


def run(plan: Plan, photo: bytes) -> Comparison:
    """Measure all targets in turns, so that other load affects all alike."""
    with tempfile.TemporaryDirectory() as folder, running_target(photo, Path(folder)) as targets:
        for target in targets:
            _round(target, plan)  # the first requests pay for connections, imports and caches
        rounds = [{target.name: _round(target, plan) for target in _turned(targets, n)} for n in range(plan.rounds)]
    return Comparison(rounds)


def sample(size: str) -> bytes:
    """A real photo as a JPEG of about this size."""
    width, quality = SIZES[size]
    buffer = BytesIO()
    with Image.open(sample_photo()) as photo:
        height = round(width * photo.height / photo.width)
        photo.resize((width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _round(target: Target, plan: Plan) -> Round:
    alone = measure(target.port, target.request, requests=plan.alone, connections=1)
    before = target.cpu_s()
    together = measure(target.port, target.request, requests=plan.together, connections=plan.connections)
    return Round(alone.latencies_ms, plan.together, together.seconds, target.cpu_s() - before)


def _turned(targets: list[Target], by: int) -> list[Target]:
    first = by % len(targets)
    return targets[first:] + targets[:first]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--photo", choices=SIZES, default="100kB", help="about how large the uploaded photo is")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--alone", type=int, default=300, help="requests one by one in a round")
    parser.add_argument("--together", type=int, default=2000, help="requests over all connections in a round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
