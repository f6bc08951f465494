"""Clients that ask on and on, and what they were answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

PAUSE_S = 0.1
PREDICTION = ["prediction", "probability", "confidence", "inference_time_ms", "model_version"]


@dataclass(frozen=True)
class Answer:
    """One answer, when it was asked for and came (`time.monotonic`), and all of it if it is not a documented one."""

    gateway: str
    asked: float
    came: float
    status: int
    undocumented: str
    version: str = ""


@dataclass
class Load:
    """All answers so far, and what went wrong below HTTP."""

    answers: list[Answer] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def between(self, start: float, end: float, gateway: str) -> list[int]:
        """Statuses of a gateway's answers that were asked for and came within a time."""
        return [one.status for one in self.answers if one.gateway == gateway and start <= one.asked and one.came <= end]

    def succeeded_since(self, start: float, gateway: str) -> bool:
        """Whether a prediction came that was asked for after a moment."""
        return any(one.status == httpx.codes.OK for one in self.answers if one.gateway == gateway and one.asked > start)


@contextmanager
def steady(gateways: dict[str, str], photo: bytes, clients_each: int) -> Iterator[Load]:
    """Ask all gateways (address by name) for predictions until the end of the block."""
    load, stop = Load(), threading.Event()
    targets = list(gateways.items()) * clients_each
    threads = [threading.Thread(target=_ask, args=(load, stop, *target, photo)) for target in targets]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _ask(load: Load, stop: threading.Event, name: str, url: str, photo: bytes) -> None:
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        while not stop.wait(PAUSE_S):
            asked = time.monotonic()
            try:
                answer = client.post("/predict", files={"file": photo})
            except httpx.HTTPError as error:
                load.broken.append(f"{name}: {error!r}")
            else:
                came = time.monotonic()
                undocumented = "" if _documented(answer) else f"{answer!r} {answer.headers!r} {answer.text}"
                version = "" if undocumented else answer.json().get("model_version", "")
                load.answers.append(Answer(name, asked, came, answer.status_code, undocumented, version))


def _documented(answer: httpx.Response) -> bool:
    if answer.headers["Content-Type"] != "application/json":
        return False
    body = answer.json()
    if answer.status_code == httpx.codes.OK:
        return list(body) == PREDICTION
    return (
        answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        and answer.headers.get("Retry-After") == "5"
        and list(body) == ["error", "detail"]
        and body["error"] == "Service unavailable"
    )
