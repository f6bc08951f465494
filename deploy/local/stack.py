"""The whole product on loopback: TorchServe, gateway and page, started and awaited."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpx

from deploy.layout import HOST, ROOT, Layout, Ports, StackError, short_folder
from deploy.local.supervisor import Supervisor
from deploy.torchserve import process

START_S = 180
"""Seconds to wait for the first inference; a worker imports torch, which a cold disk makes slow."""
FREE_BYTES = 500 * 1024 * 1024

TORCHSERVE = "torchserve"


@dataclass(frozen=True)
class LocalStack:
    """A running stack: where it listens and where its files are."""

    layout: Layout
    ports: Ports
    supervisor: Supervisor

    @property
    def gateway_url(self) -> str:
        """Base address of the REST API."""
        return f"http://{HOST}:{self.ports.gateway}"

    @property
    def page_url(self) -> str:
        """Address of the Gradio page."""
        return f"http://{HOST}:{self.ports.page}"

    @property
    def inference_url(self) -> str:
        """Base address of TorchServe's inference API."""
        return f"http://{HOST}:{self.ports.inference}"

    def token(self, purpose: str) -> str:
        """Return TorchServe's token for `inference` or `management`."""
        return process.token(self.layout.key_file, purpose)

    def wait(self, url: str, what: str, report: Callable[[str], None] = lambda _: None) -> None:
        """Wait until an address answers 200, saying what is awaited.

        Raises:
            StackError: A process ended, or the time is over.
        """
        start = time.monotonic()

        def answers() -> bool:
            process.check_loaded(self.layout.logs / f"{TORCHSERVE}.log")
            report(f"waiting for {what} ({time.monotonic() - start:.0f} s)")
            with suppress(httpx.HTTPError):
                return httpx.get(url, timeout=10, trust_env=False).status_code == httpx.codes.OK
            return False

        late = f"{what} did not answer within {START_S} s; see {self.layout.logs}"
        self.supervisor.wait(answers, START_S, late)


@contextmanager
def running(
    layout: Layout, ports: Ports, *, page: bool = True, settings: Mapping[str, str] | None = None
) -> Iterator[LocalStack]:
    """Start the stack, the gateway with these settings besides its own; stop all of it on the way out.

    Raises:
        StackError: A port is taken, the disk is full, or the archive or Java is missing; nothing was started.
    """
    ports.check_free()
    environment = _folders(layout)
    with short_folder() as sockets, Supervisor(layout.logs, environment) as supervisor:
        command = process.prepare(layout, ports, sockets)
        stack = LocalStack(layout, ports, supervisor)
        supervisor.start(TORCHSERVE, command, layout.torchserve, scratch=layout.unpacked)
        gateway = {
            "GATEWAY_HOST": HOST,
            "GATEWAY_PORT": str(ports.gateway),
            "GATEWAY_TORCHSERVE_URL": stack.inference_url,
            "GATEWAY_TORCHSERVE_KEY_FILE": str(layout.key_file),
            "GATEWAY_DRIFT_FILE": str(layout.var / "drift_window.json"),
        }
        supervisor.start("gateway", [sys.executable, "-m", "gateway"], ROOT, gateway | dict(settings or {}))
        if page:
            own = {"UI_HOST": HOST, "UI_PORT": str(ports.page), "UI_GATEWAY_URL": stack.gateway_url}
            supervisor.start("page", [sys.executable, "-m", "ui"], ROOT, own)
        yield stack


def _folders(layout: Layout) -> dict[str, str]:
    temporary = layout.var / "tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # a killed TorchServe leaves its unpacked archives
        temporary.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise StackError(
            f"cannot write below {layout.var} ({error.strerror}): free some space or fix its permissions"
        ) from error
    free = shutil.disk_usage(layout.var).free
    if free < FREE_BYTES:
        raise StackError(f"only {free >> 20} MB are free below {layout.var}: free at least {FREE_BYTES >> 20} MB")
    return layout.environment()
