"""The monitoring demo: a real Prometheus watches the stack while drift makes its alert fire, and resolve again."""

import argparse
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import count, cycle
from pathlib import Path
from random import Random
from threading import Event
from typing import Any, Final

import httpx
import yaml
from PIL import Image, ImageFilter
from rich.console import Console

from deploy.layout import HOST, ROOT, Layout, Ports, StackError, free_port, reporting
from deploy.local import demo, supervisor
from deploy.local.stack import LocalStack, running

ALERT: Final = "DriftDetected"
SETTINGS: Final[Mapping[str, str]] = {
    "API_KEYS": "",
    "REQUIRE_AUTH": "false",
    "GATEWAY_PREDICT_RATE": "100000",
    "GATEWAY_BATCH_RATE": "100000",
    "GATEWAY_EXPLAIN_RATE": "5",  # so that some are over it
    "GATEWAY_DRIFT_FILE": ".",
    "GATEWAY_DRIFT_WINDOW": "60",
}
"""The gateway's settings: a drift window that fills in seconds."""
SHIPPED: Final = ROOT / "docker" / "prometheus"
INTERVAL: Final = "1s"
"""Between scrapes, and between evaluations of the rules."""
STEADY: Final = "10s"
"""Without drift, until the alert counts as resolved: while odd images leave the window it may come and go."""
NO_PROMETHEUS: Final = (
    "no prometheus in PATH: install it (Debian and Ubuntu: `apt install prometheus`, macOS: `brew install "
    "prometheus`, else from prometheus.io/download) and try again"
)
FOR: Final = re.compile(r"^( +for: )(\d+)([mh])$", re.MULTILINE)
START_S: Final = 60
PATIENCE_S: Final = 120
PAUSE_S: Final = 0.1
PREDICT: Final = ("/predict", "file", 1)
OTHERS: Final = (("/predict/explain", "file", 1), ("/predict/batch", "files", 3), ("/predict", "file", 0))
"""Path, field and number of images; 0: what is not an image, as some client always sends."""
SAMPLES: Final = ("coffee", "chelsea", "astronaut", "coins", "camera", "motorcycle_left", "brick", "gravel", "rocket")
IMAGES: Final = 60
USUAL_SIDE, ODD_SIDE = 240, 96


def usual_and_odd() -> tuple[list[bytes], list[bytes]]:
    """Crops of real photographs, and tiny blurred ones, as a broken resizing step upstream might send."""
    random, folder = Random(7), demo.sample_photo().parent  # noqa: S311 - images, no secrets
    samples = cycle([Image.open(next(folder.glob(f"{name}.*"))).convert("RGB") for name in SAMPLES])

    def crop(side: int, blur: float, quality: int) -> bytes:
        image, buffer = next(samples), BytesIO()
        left, top = (random.randrange(length - side) for length in image.size)
        cropped = image.crop((left, top, left + side, top + side))
        cropped.filter(ImageFilter.GaussianBlur(blur)).save(buffer, "JPEG", quality=quality)
        return buffer.getvalue()

    usual = [crop(random.randint(USUAL_SIDE // 2, USUAL_SIDE), blur=0, quality=90) for _ in range(IMAGES)]
    return usual, [crop(ODD_SIDE, blur=6, quality=30) for _ in range(IMAGES)]


@contextmanager
def clients(url: str, images: Sequence[bytes]) -> Iterator[None]:
    """Let three clients upload what `images` holds over and over until the end of the block."""
    stop, numbers = Event(), count()

    def ask(requests: Sequence[tuple[str, str, int]]) -> None:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            for path, name, number in cycle(requests):
                if stop.wait(PAUSE_S):
                    return
                files = [(name, images[next(numbers) % len(images)]) for _ in range(number)]
                with suppress(httpx.HTTPError):  # the metrics show what became of it
                    client.post(path, files=files or {name: b"GIF89a, which is not an image"})

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, requests) for requests in ([PREDICT], [PREDICT], OTHERS)]
        try:
            yield
        finally:
            stop.set()
    for each in asking:
        each.result()


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now, each with `metric` (its labels) and `value` (time, text)."""
        url, parameters = f"{self.url}/api/v1/query", {"query": expression}
        try:
            found: dict[str, Any] = httpx.get(url, params=parameters, timeout=10, trust_env=False).json()
        except (httpx.HTTPError, ValueError) as error:  # while it starts it answers in plain text
            raise StackError(f"Prometheus does not answer: {error}") from error
        if found["status"] != "success":
            raise StackError(f"Prometheus refuses {expression}: {found['error']}")
        return list(found["data"]["result"])

    def value(self, expression: str) -> float:
        """Return the value of an expression's first series; 0 while it has none."""
        return next((float(one["value"][1]) for one in self.query(expression)), 0.0)

    def alert(self, name: str) -> str:
        """Return an alert's worst state over all of its series: `firing`, `pending` or `inactive`."""
        states = {one["metric"]["alertstate"] for one in self.query(f'ALERTS{{alertname="{name}"}}')}
        return "firing" if "firing" in states else "pending" if states else "inactive"

    def settled(self, jobs: set[str]) -> bool:
        """Return whether it has scraped targets of all these jobs, and no critical alert is pending or fires."""
        with suppress(StackError):
            up = {one["metric"]["job"] for one in self.query("up == 1")}
            return jobs <= up and not self.query('ALERTS{severity="critical"}')
        return False


def prepare(folder: Path, targets: Mapping[str, str], minute_ms: int) -> list[str]:
    """Write the shipped configuration for this machine and return the arguments of a Prometheus.

    `targets` are `host:port` by job; each minute of a rule's `for` takes so many milliseconds.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "rules").mkdir(parents=True)
    for rules in (SHIPPED / "rules").glob("*.yml"):
        quicker = FOR.sub(
            lambda found: f"{found[1]}{int(found[2]) * {'m': 1, 'h': 60}[found[3]] * minute_ms}ms", rules.read_text()
        )
        (folder / "rules" / rules.name).write_text(quicker)
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
    for scrape in config["scrape_configs"]:
        scrape["static_configs"] = [{"targets": [targets[scrape["job_name"]]]}]
        scrape["scrape_timeout"] = INTERVAL  # it may not be longer than the interval
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    files = (f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}")
    return [*files, f"--web.listen-address={targets['prometheus']}", "--log.level=warn"]


def tell(stack: LocalStack, prometheus: Prometheus, console: Console, plan: argparse.Namespace) -> None:
    """Let drift come and go in what clients send, with `plan.calm` seconds before and after, and go on if told to.

    Raises:
        StackError: Something did not happen in time, or a process ended.
    """
    began = time.monotonic()

    def until(what: str, happened: Callable[[], bool]) -> None:
        late = f"waited {PATIENCE_S} s in vain until {what}; the machine may be too busy, try again"
        stack.supervisor.wait(happened, PATIENCE_S, late)
        window, score = (prometheus.value(f"max(aidetect_drift_{name})") for name in ("window_size", "score"))
        figures = f"window {window:.0f}, drift score {score:.2f}, alert {prometheus.alert(ALERT)}"
        console.print(f"{time.monotonic() - began:5.0f} s  {what}: {figures}")

    usual, odd = usual_and_odd()
    full, size = float(SETTINGS["GATEWAY_DRIFT_WINDOW"]), "max(aidetect_drift_window_size)"
    lately = f"max(max_over_time(aidetect_drift_detected[{STEADY}]))"
    images = list(usual)
    with clients(stack.gateway_url, images):
        until("the drift window is full of ordinary images", lambda: prometheus.value(size) == full)
        stack.supervisor.watch(plan.calm)
        images[:] = odd
        until(f"{ALERT} is pending", lambda: prometheus.alert(ALERT) == "pending")
        until(f"{ALERT} is firing", lambda: prometheus.alert(ALERT) == "firing")
        images[:] = usual
        until(f"{ALERT} is resolved", lambda: prometheus.value(lately) == 0)
        stack.supervisor.watch(plan.calm)
        if plan.serve:
            console.print("Ordinary images continue. Press Ctrl-C to stop.")
            stack.supervisor.watch()


@supervisor.interrupt_once()
@reporting("monitoring-demo")
def main() -> None:
    """Run the demo from the command line."""
    parser = argparse.ArgumentParser(prog="make monitoring-demo", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="continue until Ctrl-C, to use Prometheus's own page")
    parser.add_argument("--minute", type=int, default=1000, help="milliseconds for a minute of a rule's `for`")
    parser.add_argument("--calm", type=float, default=10, help="calm seconds before and after the drift")
    parser.add_argument("--var", type=Path, default=ROOT / "var/monitoring", help="folder for logs and series")
    plan = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    program = shutil.which("prometheus")
    if program is None:
        raise StackError(NO_PROMETHEUS)
    try:
        with running(Layout(var=plan.var.resolve()), Ports.free(), page=False, settings=SETTINGS) as stack:
            with console.status("starting TorchServe, then Prometheus"):
                stack.wait(f"{stack.gateway_url}/readyz", "a first inference by TorchServe")
                prometheus = started(program, stack, plan.minute)
            console.print(f"Gateway     {stack.gateway_url}\nPrometheus  {prometheus.url}/alerts")
            console.print(f"Each minute of a rule's `for` takes {plan.minute / 1000:g} s here.")
            tell(stack, prometheus, console, plan)
    except KeyboardInterrupt:
        console.print("stopped")


def started(program: str, stack: LocalStack, minute_ms: int) -> Prometheus:
    """Start Prometheus and wait until it has scraped all targets and no alert of the start is in the way."""
    folder, here = stack.layout.var / "prometheus", f"{HOST}:{free_port()}"
    ports = {"gateway": stack.ports.gateway, "torchserve": stack.ports.metrics}
    targets = {"prometheus": here} | {job: f"{HOST}:{port}" for job, port in ports.items()}
    stack.supervisor.start("prometheus", [program, *prepare(folder, targets, minute_ms)], folder)
    prometheus = Prometheus(f"http://{here}")
    late = f"Prometheus has not scraped all of {', '.join(targets)} within {START_S} s"
    stack.supervisor.wait(lambda: prometheus.settled(set(targets)), START_S, late)
    return prometheus


if __name__ == "__main__":
    main()
