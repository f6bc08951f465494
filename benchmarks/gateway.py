"""What the gateway costs, against a null back end and beside a bare Starlette echo: `python -m benchmarks.gateway`."""

import argparse
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from benchmarks.harness import SIZES, Spread, direct, measure, processes, sample, upload, wait
from deploy.layout import HOST, ROOT, free_port
from deploy.local.supervisor import Supervisor

VERDICT: Final = json.dumps(
    {
        "prediction": "ai_generated",
        "probability": 0.87,
        "confidence": "high",
        "model_version": "1.0.0",
        "inputs": dict.fromkeys(("width", "height", "megapixels", "bytes_per_pixel", "brightness", "sharpness"), 103.6),
    }
).encode()
HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", str(len(VERDICT)).encode())]
NULL, ECHO, GATEWAY = TARGETS = ("null back end", "Starlette echo", "gateway")
BAR_ADDED_MS: Final = 3.0
BAR_PER_CPU_S: Final = 1000.0
TICK_S: Final = 0.01
"""The step in which the kernel counts a process's time."""
WIDTH: Final = 140
"""Characters of a line, so that the table is whole in a log as well."""


FIGURES: Final = ("p50 ms", "p95 ms", "requests/s", "requests/CPU-s")
"""Of requests one by one, and of many at once: their rate, and that in a second of the target's time on a core."""
Rounds = list[dict[str, dict[str, float]]]
"""Each with the figures of every target by its name."""


@dataclass(frozen=True)
class Target:
    """A process that answers a request on a port."""

    name: str
    port: int
    request: bytes
    process: psutil.Process

    def measured(self, plan: argparse.Namespace) -> dict[str, float]:
        """Send requests one by one, then over all connections, and return the figures."""
        alone = measure(self.port, self.request, requests=plan.alone, connections=1)
        before = self.process.cpu_times()
        together = measure(self.port, self.request, requests=plan.together, connections=plan.connections)
        after = self.process.cpu_times()  # of all threads
        cpu_s = after.user - before.user + after.system - before.system
        figures = (alone.percentile(50), alone.percentile(95), together.per_s, plan.together / max(cpu_s, TICK_S))
        return dict(zip(FIGURES, figures, strict=True))


def spreads(rounds: Rounds, name: str) -> dict[str, Spread]:
    """Every figure of one target."""
    return {title: Spread.of(found[name][title] for found in rounds) for title in FIGURES}


def beside(rounds: Rounds, base: str) -> tuple[Spread, Spread]:
    """What the gateway's p50 has over another target's in the same round, in ms, and as a multiple of it."""
    pairs = [(found[GATEWAY]["p50 ms"], found[base]["p50 ms"]) for found in rounds]
    return Spread.of(own - other for own, other in pairs), Spread.of(own / other for own, other in pairs)


def meets_bar(rounds: Rounds) -> bool:
    """Whether the gateway adds as little and serves as much as it should."""
    added, served = beside(rounds, NULL)[0], spreads(rounds, GATEWAY)["requests/CPU-s"]
    return added.mean <= BAR_ADDED_MS and served.mean >= BAR_PER_CPU_S


def as_json(rounds: Rounds) -> dict[str, Any]:
    """Every figure by target, and the gateway's beside the others'."""
    targets = {name: {title: asdict(spread) for title, spread in spreads(rounds, name).items()} for name in TARGETS}
    added, ratio = ({base: asdict(beside(rounds, base)[which]) for base in (NULL, ECHO)} for which in (0, 1))
    return {"targets": targets, "p50_added_ms": added, "p50_ratio": ratio, "meets_bar": meets_bar(rounds)}


def table(rounds: Rounds) -> Table:
    """The figures of all targets, mean ± standard deviation of the rounds."""
    caption = (
        f"n = {len(rounds)} rounds, mean ± sd. At most {BAR_ADDED_MS:g} ms over the null back end and "
        f"{BAR_PER_CPU_S:,.0f} requests a CPU second: {'met' if meets_bar(rounds) else 'missed'}"
    )
    grid = Table("", *FIGURES, "gateway's p50 adds, ms", "ratio", caption=caption)
    for name in TARGETS:
        compared = () if name == GATEWAY else beside(rounds, name)
        grid.add_row(name, *map(str, [*spreads(rounds, name).values(), *compared]))
    return grid


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--photo", choices=SIZES, default="100kB", help="about how large the uploaded image is")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--alone", type=int, default=300, help="requests one by one in a round")
    parser.add_argument("--together", type=int, default=2000, help="requests over all connections in a round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    plan = parser.parse_args()
    photo = sample(plan.photo)
    rounds = run(plan, photo)
    if plan.json:
        print(json.dumps(as_json(rounds) | {"photo_bytes": len(photo)}, indent=2))
        return
    console = Console(highlight=False, width=WIDTH)
    console.print(f"{len(photo) / 1000:.0f} kB JPEG; a round is {plan.alone} requests one by one, then {plan.together}")
    console.print(f"over {plan.connections} connections; CPU seconds are those of the measured process alone")
    console.print(table(rounds))


def run(plan: argparse.Namespace, photo: bytes) -> Rounds:
    """Measure all targets in turns, so that other load affects all alike."""
    with running_targets(photo) as targets:
        for target in targets:
            target.measured(plan)  # the first requests pay for connections, imports and caches
        turns = [n % len(targets) for n in range(plan.rounds)]
        return [{one.name: one.measured(plan) for one in targets[first:] + targets[:first]} for first in turns]


@contextmanager
def running_targets(photo: bytes) -> Iterator[list[Target]]:
    """Start each and wait until it answers; the gateway as in production, but for the limit of rates.

    Raises:
        StackError: One of them does not come up.
    """
    (null, echoing, own), key = [free_port() for _ in TARGETS], secrets.token_hex()
    with tempfile.TemporaryDirectory() as folder:
        key_file = Path(folder) / "key_file.json"
        key_file.write_text(json.dumps({"inference": {"key": secrets.token_hex(4)}}))
        environment = os.environ | {
            "API_KEYS": key,
            "RATE_LIMIT_ENABLED": "false",
            "GATEWAY_PORT": str(own),
            "GATEWAY_TORCHSERVE_URL": f"http://{HOST}:{null}",
            "GATEWAY_TORCHSERVE_KEY_FILE": str(key_file),
            "GATEWAY_DRIFT_FILE": ".",
        }
        plain, with_key = (upload("/predict", "file", [photo], *header) for header in ((), (f"X-API-Key: {key}",)))
        uvicorn = ("uvicorn", "--host", HOST, "--no-access-log", "--log-level", "warning", "--port")
        with Supervisor(Path(folder), environment) as supervisor:
            yield [
                _start(supervisor, NULL, null, direct(photo), *uvicorn, str(null), "benchmarks.gateway:null_model"),
                _start(supervisor, ECHO, echoing, plain, *uvicorn, str(echoing), "benchmarks.gateway:echo"),
                _start(supervisor, GATEWAY, own, with_key, "gateway"),
            ]


def _start(supervisor: Supervisor, name: str, port: int, request: bytes, *module: str) -> Target:
    supervisor.start(name, [sys.executable, "-m", *module], ROOT)
    wait(supervisor, port, request)
    return Target(name, port, request, *processes(supervisor, name))


async def null_model(scope: Scope, receive: Receive, send: Send) -> None:
    """Read any request and return TorchServe's response to a prediction at once."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": VERDICT})


async def _count(request: Request) -> JSONResponse:
    async with request.form() as form:
        file = form["file"]
        size = len(await file.read()) if isinstance(file, UploadFile) else 0
    return JSONResponse({"bytes": size})


echo = Starlette(routes=[Route("/predict", _count, methods=["POST"])])


if __name__ == "__main__":
    main()
