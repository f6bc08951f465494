"""Prometheus as a process on this machine: the shipped configuration at short intervals, its API, and its traffic."""

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import yaml

from deploy.layout import HOST, ROOT, StackError, free_port
from deploy.local.stack import Report
from deploy.local.supervisor import Supervisor

AlertState = Literal["inactive", "pending", "firing"]
SHIPPED: Final = ROOT / "docker" / "prometheus"
INTERVAL: Final = "1s"
"""Between scrapes, and between evaluations of the rules."""
START_S: Final = 60
CLIENTS: Final = 2
PAUSE_S: Final = 0.1
BATCH: Final = 3
NO_PHOTO: Final = b"GIF89a, which is none of the formats"
Ask = Callable[[httpx.Client], httpx.Response]


@dataclass(frozen=True)
class Series:
    """One line of an answer: its labels, and values over time in seconds since 1970."""

    labels: dict[str, str]
    times: list[float]
    values: list[float]


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def alert(self, name: str) -> AlertState:
        """Return the worst state of an alert over all of its series."""
        states = {alert["state"] for alert in self._ask("alerts")["alerts"] if alert["labels"]["alertname"] == name}
        return "firing" if "firing" in states else "pending" if "pending" in states else "inactive"

    def settled(self, jobs: set[str]) -> bool:
        """Return whether it is up, has scraped targets of all these jobs, and no critical alert is pending or fires."""
        try:
            up = {one["labels"]["job"] for one in self._ask("targets")["activeTargets"] if one["health"] == "up"}
            severities = {alert["labels"]["severity"] for alert in self._ask("alerts")["alerts"]}
        except StackError:
            return False
        return jobs <= up and "critical" not in severities

    def value(self, expression: str) -> float | None:
        """Return the newest value of an expression's first series; None while it has no series."""
        found = self._ask("query", query=expression)["result"]
        return float(found[0]["value"][1]) if found else None

    def ranges(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """Return an expression's series between two moments, a value every `step` seconds."""
        found = self._ask("query_range", query=expression, start=start, end=end, step=step)["result"]
        return [
            Series(one["metric"], [float(at) for at, _ in one["values"]], [float(value) for _, value in one["values"]])
            for one in found
        ]

    def metrics(self) -> set[str]:
        """Return the names of all series that were ever scraped or recorded."""
        return set(self._ask("label/__name__/values"))

    def labels(self, metric: str) -> set[str]:
        """Return the labels that a metric's series have."""
        return {label for one in self._ask("series", **{"match[]": metric}) for label in one}

    def _ask(self, question: str, **parameters: Any) -> Any:  # noqa: ANN401 - JSON
        try:
            answer = httpx.get(f"{self.url}/api/v1/{question}", params=parameters, timeout=10, trust_env=False)
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:  # while it starts it answers in plain text
            raise StackError(f"Prometheus does not answer: {error}") from error
        if answer.is_error:
            raise StackError(f"Prometheus refuses {parameters.get('query', question)}: {body['error']}")
        return body["data"]


def find_prometheus() -> Path:
    """Return the `prometheus` in PATH.

    Raises:
        StackError: There is none.
    """
    found = shutil.which("prometheus")
    if found is None:
        raise StackError(
            "no prometheus in PATH: install it (Debian and Ubuntu: `apt install prometheus`, macOS: `brew install "
            "prometheus`, else from prometheus.io/download) and try again"
        )
    return Path(found)


def start(
    supervisor: Supervisor, folder: Path, targets: Mapping[str, str], minute_ms: int, progress: Report
) -> Prometheus:
    """Start it and wait until it has scraped all targets (`host:port` by job) and no critical alert is about.

    Raises:
        StackError: It is not installed or ended, or this took too long.
    """
    port = free_port()
    watched = {**targets, "prometheus": f"{HOST}:{port}"}
    supervisor.start("prometheus", prepare(find_prometheus(), folder, watched, port, minute_ms), folder)
    prometheus = Prometheus(f"http://{HOST}:{port}")
    deadline = time.monotonic() + START_S
    while not prometheus.settled(set(watched)):
        supervisor.check()
        if time.monotonic() > deadline:
            raise StackError(f"Prometheus has not scraped all of {', '.join(watched)} within {START_S} s")
        progress("waiting for Prometheus's first scrapes")
        time.sleep(0.25)
    return prometheus


def prepare(prometheus: Path, folder: Path, targets: Mapping[str, str], port: int, minute_ms: int) -> list[str]:
    """Write a configuration and return the command to run.

    It is the shipped one, with targets (`host:port` by job) and intervals of this machine, and with rules in which
    each minute of a `for` takes so many milliseconds.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "rules").mkdir(parents=True)
    for rules in (SHIPPED / "rules").glob("*.yml"):
        (folder / "rules" / rules.name).write_text(quicker(rules.read_text(encoding="utf-8"), minute_ms))
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
    for scrape in config["scrape_configs"]:
        scrape["static_configs"] = [{"targets": [targets[scrape["job_name"]]]}]
        scrape["scrape_timeout"] = INTERVAL  # it may not be longer than the interval
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return [
        str(prometheus),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    ]


def quicker(rules: str, minute_ms: int) -> str:
    """Rules in which each minute of a `for` takes so many milliseconds."""
    minutes = {"m": 1, "h": 60}
    return re.sub(
        r"^( +for: )(\d+)([mh])$",
        lambda found: f"{found[1]}{int(found[2]) * minutes[found[3]] * minute_ms}ms",
        rules,
        flags=re.MULTILINE,
    )


class Traffic:
    """What the clients send."""

    def __init__(self) -> None:
        self._photos: Sequence[bytes] = ()
        self._number = count()

    def send(self, photos: Sequence[bytes]) -> None:
        """Send these photos from now on, over and over."""
        self._photos = photos

    def predict(self, client: httpx.Client) -> httpx.Response:
        """Ask for a prediction."""
        return client.post("/predict", files={"file": self._next()})

    def explain(self, client: httpx.Client) -> httpx.Response:
        """Ask for an explanation."""
        return client.post("/predict/explain", files={"file": self._next()})

    def batch(self, client: httpx.Client) -> httpx.Response:
        """Ask for a batch."""
        return client.post("/predict/batch", files=[("files", self._next()) for _ in range(BATCH)])

    def _next(self) -> bytes:
        return self._photos[next(self._number) % len(self._photos)]


def blunder(client: httpx.Client) -> httpx.Response:
    """Send something that is not an image, as some client always does."""
    return client.post("/predict", files={"file": NO_PHOTO})


@contextmanager
def flowing(url: str, traffic: Traffic) -> Iterator[None]:
    """Keep a few clients asking until the end of the block."""
    stop = threading.Event()
    predicting: list[Ask] = [traffic.predict]
    each = [predicting] * CLIENTS + [[traffic.explain, traffic.batch, blunder]]
    threads = [threading.Thread(target=_ask, args=(url, asks, stop)) for asks in each]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _ask(url: str, asks: Sequence[Ask], stop: threading.Event) -> None:
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        for ask in cycle(asks):
            if stop.wait(PAUSE_S):
                return
            with suppress(httpx.HTTPError):  # the metrics tell what became of it
                ask(client)
