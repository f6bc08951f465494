"""Gateway processes in front of the one TorchServe, each with settings of its own; and a model server that is mute."""

from __future__ import annotations

import json
import socketserver
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import httpx

from deploy.layout import HOST, free_ports
from deploy.local.stack import LocalStack
from tests.e2e.contract.pictures import MIB
from tests.e2e.processes import running_gateway

NOBODY = "http://127.0.0.1:1"
KEYS = ("row-key-1", "row-key-2")
LINE_S = 5
AT_ONCE = 3  # processes that start; more would only wait for each other

SETTINGS: Mapping[str, Mapping[str, str]] = {
    "open": {
        "RATE_LIMIT_ENABLED": "false",
        "GATEWAY_DRIFT_WINDOW": "12",
    },
    "keyed": {"API_KEYS": ",".join(KEYS)},
    "raised": {
        "RATE_LIMIT_ENABLED": "false",
        "GATEWAY_MAX_FILE_BYTES": str(2 * 5 * MIB),
        "GATEWAY_MAX_BATCH_FILES": "20",
        "GATEWAY_MAX_BATCH_BYTES": str(2 * 50 * MIB),
        "GATEWAY_UPLOAD_BUDGET_BYTES": str(2 * 96 * MIB),
        "GATEWAY_MIN_SIDE_PIXELS": "5",
        "GATEWAY_MAX_SIDE_PIXELS": "20000",
        "GATEWAY_MAX_PIXELS": "100000000",
    },
    "down": {"RATE_LIMIT_ENABLED": "false", "GATEWAY_TORCHSERVE_URL": NOBODY},
    "waiting": {
        "RATE_LIMIT_ENABLED": "false",
        "GATEWAY_PREDICT_TIMEOUT_S": "2",
        "readiness_timeout_s": "0.3",
        "GATEWAY_BACKEND_CONCURRENCY": "1",
        "GATEWAY_BACKEND_QUEUE": "0",
    },
}


@dataclass(frozen=True)
class MuteServer:
    """A port that takes requests and never answers: what it got, and which connections the other side closed."""

    url: str
    got: SimpleQueue[bytes]
    closed: SimpleQueue[bytes]


@dataclass(frozen=True)
class Gateways:
    """The running processes by the names of their settings."""

    clients: Mapping[str, httpx.Client]
    logs: Path
    mute: MuteServer

    def log(self, name: str) -> str:
        """All that a gateway has logged."""
        return (self.logs / f"{name}.log").read_text(encoding="utf-8")

    def line(self, name: str, request_id: str) -> dict[str, Any]:
        """The log line of a request, which may come a moment after its answer."""
        deadline = time.monotonic() + LINE_S
        while time.monotonic() < deadline:
            lines = [json.loads(line) for line in self.log(name).splitlines()]
            for line in lines:
                if (line["event"], line.get("request_id")) == ("request", request_id):
                    return dict(line)
            time.sleep(0.05)
        raise TimeoutError(request_id)


@contextmanager
def opened(stack: LocalStack, folder: Path) -> Iterator[Gateways]:
    """Start a gateway for each entry of the settings."""
    torchserve = {
        "GATEWAY_TORCHSERVE_URL": stack.inference_url,
        "GATEWAY_TORCHSERVE_KEY_FILE": str(stack.layout.key_file),
    }
    with _mute_server() as mute, ExitStack() as closing, ThreadPoolExecutor(AT_ONCE) as pool:
        own = {
            name: {**torchserve, **settings, "GATEWAY_PORT": str(port)}
            for (name, settings), port in zip(SETTINGS.items(), free_ports(len(SETTINGS)), strict=True)
        }
        own["waiting"]["GATEWAY_TORCHSERVE_URL"] = mute.url
        starting = [running_gateway(folder / f"{name}.log", **settings) for name, settings in own.items()]
        running = dict(zip(own, pool.map(closing.enter_context, starting), strict=True))
        clients = {
            name: closing.enter_context(httpx.Client(base_url=gateway.url, timeout=60, trust_env=False))
            for name, gateway in running.items()
        }
        yield Gateways(clients, folder, mute)


@contextmanager
def _mute_server() -> Iterator[MuteServer]:
    got, closed = SimpleQueue[bytes](), SimpleQueue[bytes]()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    class Mute(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            first = self.request.recv(65_536)
            got.put(first)
            while self.request.recv(65_536):
                pass
            closed.put(first)

    with Server((HOST, 0), Mute) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield MuteServer(f"http://{HOST}:{server.server_address[1]}", got, closed)
        server.shutdown()
