"""The monitoring demo: Prometheus watches the stack, drift fires an alert, and the dashboards are drawn."""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps, ImageStat
from rich.console import Console
from rich.status import Status

from benchmarks.dashboards import SETTINGS, Source, Storyteller, dashboards, draw
from benchmarks.prometheus import Prometheus, Traffic, find_prometheus, flowing, start
from deploy.layout import HOST, ROOT, Layout, Ports, StackError
from deploy.local.demo import sample_photo
from deploy.local.stack import LocalStack, Report, running

SAMPLES: Final = ("coffee", "chelsea", "astronaut", "coins", "camera", "motorcycle_left", "brick", "gravel", "rocket")
QUALITIES: Final = (35, 50, 65, 80, 90, 95)
ODD_SIDE: Final = 96
PHOTOS = 60
RATE_INTERVAL = "10s"


@dataclass(frozen=True)
class Reference:
    """Distribution of the images behind the model's reference."""

    inputs: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> Reference:
        """Read the file that ships with the model."""
        return cls(json.loads(file.read_text(encoding="utf-8"))["inputs"])

    def draw(self, name: str, share: float) -> float:
        """Return the value that this share of the images stays below."""
        quantiles = {float(at): value for at, value in self.inputs[name]["quantiles"].items()}
        return float(np.interp(share, list(quantiles), list(quantiles.values())))


def usual(reference: Reference, count: int) -> list[bytes]:
    """Crops of photos with the sizes, brightness and compression of the reference's images."""
    random, samples = Random(7), _samples()  # noqa: S311 - pictures, no secrets
    order = random.sample(range(count), count)
    return [
        _usual(samples[index % len(samples)], reference, (index + 0.5) / count, (order[index] + 0.5) / count, random)
        for index in range(count)
    ]


def odd(count: int) -> list[bytes]:
    """Tiny, blurred, pale crops: what a broken resizing step upstream might send."""
    random, samples = Random(8), _samples()  # noqa: S311 - pictures, no secrets
    return [_odd(samples[index % len(samples)], random) for index in range(count)]


def _usual(sample: Image.Image, reference: Reference, size: float, look: float, random: Random) -> bytes:
    side = round(reference.draw("width", size)), round(reference.draw("height", size))
    around = (random.random(), random.random())
    picture = ImageOps.fit(sample, side, bleed=random.uniform(0, 0.2), centering=around)
    brightness = max(1.0, ImageStat.Stat(picture.convert("L")).mean[0])
    picture = ImageEnhance.Brightness(picture).enhance(reference.draw("brightness", look) / brightness)
    wanted = reference.draw("bytes_per_pixel", random.random()) * side[0] * side[1]
    return min((_jpeg(picture, quality) for quality in QUALITIES), key=lambda data: abs(len(data) - wanted))


def _odd(sample: Image.Image, random: Random) -> bytes:
    left, top = (random.randrange(side - 2 * ODD_SIDE) for side in sample.size)
    picture = sample.crop((left, top, left + ODD_SIDE, top + ODD_SIDE)).filter(ImageFilter.GaussianBlur(6))
    return _jpeg(Image.blend(picture, Image.new("RGB", picture.size, "white"), 0.6), 30)


def _samples() -> list[Image.Image]:
    folder = sample_photo().parent
    files = [next(folder.glob(f"{name}.*")) for name in SAMPLES]
    return [Image.open(file).convert("RGB") for file in files]


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


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

    reference = Reference.read(stack.layout.store / "reference.json")
    traffic, usual_ = Traffic(), usual(reference, PHOTOS)
    traffic.send(usual_)
    teller = Storyteller(prometheus, traffic, stack.supervisor.check, report, status.update)
    with flowing(stack.gateway_url, traffic):
        moments = teller.tell(usual_, odd(PHOTOS), arguments.calm)
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
