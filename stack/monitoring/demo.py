"""The monitoring demo: Prometheus watches the stack, drift fires an alert, and the dashboards are drawn."""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path

from rich.console import Console
from rich.status import Status

from stack.layout import HOST, ROOT, Layout, Ports, StackError
from stack.local import LocalStack, Report, running
from stack.monitoring import photos
from stack.monitoring.api import Prometheus
from stack.monitoring.dashboards import dashboards
from stack.monitoring.picture import Source, draw
from stack.monitoring.process import find_prometheus, start
from stack.monitoring.story import SETTINGS, Storyteller
from stack.monitoring.traffic import Traffic, flowing

PHOTOS = 60
RATE_INTERVAL = "10s"


def main() -> None:
    """Run the demo from the command line."""
    arguments = _parse()
    console = Console(highlight=False, soft_wrap=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    layout = Layout(var=arguments.var.resolve())
    try:
        find_prometheus()  # before anything is started
        with (
            running(layout, Ports.free(), page=False, settings=SETTINGS) as stack,
            console.status("starting") as status,
        ):
            prometheus = _started(stack, arguments.minute, status.update)
            _demo(stack, prometheus, console, status, arguments)
    except StackError as error:
        raise SystemExit(f"monitoring-demo: {error}") from error
    except KeyboardInterrupt:
        console.print("stopped")


def _started(stack: LocalStack, minute_ms: int, progress: Report) -> Prometheus:
    """Start Prometheus once the model answers, so that no alert of the start is in the way."""
    stack.wait(f"{stack.gateway_url}/readyz", "a first inference by TorchServe", progress)
    targets = {"gateway": f"{HOST}:{stack.ports.gateway}", "torchserve": f"{HOST}:{stack.ports.metrics}"}
    return start(stack.supervisor, stack.layout.var / "prometheus", targets, minute_ms, progress)


def _demo(
    stack: LocalStack, prometheus: Prometheus, console: Console, status: Status, arguments: argparse.Namespace
) -> None:
    began = time.time()
    console.print(f"Gateway     {stack.gateway_url}\nPrometheus  {prometheus.url}/alerts")
    console.print(f"Each minute of a rule's `for` takes {arguments.minute / 1000:g} s here.")

    def report(what: str) -> None:
        console.print(f"{time.time() - began:5.0f} s  {what}")

    reference = photos.Reference.read(stack.layout.store / "reference.json")
    traffic, usual = Traffic(), photos.usual(reference, PHOTOS)
    traffic.send(usual)
    teller = Storyteller(prometheus, traffic, stack.supervisor.check, report, status.update)
    with flowing(stack.gateway_url, traffic):
        moments = teller.tell(usual, photos.odd(PHOTOS), arguments.calm)
        status.update("drawing the dashboards")
        source = Source(prometheus, began, time.time(), RATE_INTERVAL)
        empty = draw(dashboards(), source, moments, arguments.picture)
        console.print(f"Dashboards  {os.path.relpath(arguments.picture)}; without data: {', '.join(empty) or 'none'}")
        if arguments.serve:
            console.print("Ordinary images continue. Press Ctrl-C to stop.")
            status.stop()
            _serve(stack)


def _serve(stack: LocalStack) -> None:
    while True:
        stack.supervisor.check()
        time.sleep(0.5)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make monitoring-demo", description=__doc__)
    var = ROOT / "var"
    parser.add_argument("--serve", action="store_true", help="continue until Ctrl-C, to use Prometheus's own page")
    parser.add_argument("--minute", type=int, default=1000, help="milliseconds for a minute of a rule's `for`")
    parser.add_argument("--calm", type=float, default=10, help="calm seconds before and after the drift")
    parser.add_argument("--var", type=Path, default=var / "monitoring", help="folder for logs and series")
    parser.add_argument("--picture", type=Path, default=var / "monitoring-demo.png", help="where the picture goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
