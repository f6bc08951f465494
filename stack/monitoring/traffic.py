"""Clients that ask the gateway on and on; which photos they send can change meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count, cycle
from typing import Final

import httpx

CLIENTS: Final = 2
PAUSE_S: Final = 0.1
BATCH: Final = 3
NO_PHOTO: Final = b"GIF89a, which is none of the formats"
Ask = Callable[[httpx.Client], httpx.Response]


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
