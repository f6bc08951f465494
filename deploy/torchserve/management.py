"""TorchServe's management and inference APIs, as far as switching versions of the model needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Self
from urllib.parse import quote

import httpx
from PIL import Image

from deploy.layout import Layout, StackError
from deploy.torchserve import process

TIMEOUT_S = 60
START = "start it with `make demo` and leave it running"


@dataclass(frozen=True)
class Served:
    """A version as TorchServe describes it: its archive, workers, requests in its queue, and a batch's longest time."""

    version: str
    archive: str
    workers: int
    ready: int
    pending: int
    response_timeout_s: int

    @classmethod
    def read(cls, described: dict[str, Any]) -> Self:
        """Take what is needed from TorchServe's JSON."""
        return cls(
            version=described["modelVersion"],
            archive=described["modelUrl"],
            workers=described["minWorkers"],
            ready=sum(worker["status"] == "READY" for worker in described["workers"]),
            pending=described["jobQueueStatus"]["pendingRequests"],
            response_timeout_s=described["responseTimeout"],
        )


class ModelApi:
    """Both APIs of one TorchServe; every failure is a StackError that says what to do."""

    def __init__(self, management: httpx.Client, inference: httpx.Client) -> None:
        self._management = management
        self._inference = inference

    def live(self) -> Served:
        """Return the version that requests without a version are answered by."""
        [described] = self._manage("GET", f"/models/{process.MODEL}").json()
        return Served.read(described)

    def versions(self) -> dict[str, Served]:
        """Return all registered versions by their numbers."""
        described = self._manage("GET", f"/models/{process.MODEL}/all").json()
        return {served.version: served for served in map(Served.read, described)}

    def register(self, archive: str) -> None:
        """Register an archive of the model store by its file name; the workers that it asks for start by themselves."""
        # Synchronously, as is the default here, TorchServe would keep one of its few threads from answering requests.
        self._manage("POST", "/models", url=archive, model_name=process.MODEL, synchronous="false")

    def scale(self, version: str, workers: int) -> None:
        """Request a number of workers; they become ready later."""
        self._manage("PUT", _path(version), min_worker=str(workers), max_worker=str(workers))

    def set_default(self, version: str) -> None:
        """Let a version answer the requests from now on."""
        self._manage("PUT", f"{_path(version)}/set-default")

    def unregister(self, version: str) -> None:
        """Stop a version's workers and forget it; what it still holds is lost."""
        self._manage("DELETE", _path(version))

    def predict(self, version: str) -> str:
        """Predict a test image with a version; return the version named in the response."""
        path = f"/predictions/{process.MODEL}/{quote(version, safe='')}"
        Image.effect_noise((640, 480), 50).convert("RGB").save(image := BytesIO(), "JPEG")
        headers = {"Content-Type": "application/octet-stream"}
        answer = _ask(self._inference, "POST", path, content=image.getvalue(), headers=headers)
        return str(answer.json()["model_version"])

    def _manage(self, method: str, path: str, **query: str) -> httpx.Response:
        return _ask(self._management, method, path, params=query)


@contextmanager
def connected(layout: Layout) -> Iterator[ModelApi]:
    """Connect to the TorchServe that works in this folder, with its addresses and tokens.

    Raises:
        StackError: None was started there.
    """
    clients = []
    for api in ("management", "inference"):
        try:
            address, token = process.address(layout.config, api), process.token(layout.key_file, api)
        except (FileNotFoundError, KeyError) as error:
            raise StackError(f"no TorchServe was started in {layout.torchserve}: {START}") from error
        headers = {"Authorization": f"Bearer {token}"}
        clients.append(httpx.Client(base_url=address, headers=headers, timeout=TIMEOUT_S, trust_env=False))
    with clients[0] as management, clients[1] as inference:
        yield ModelApi(management, inference)


def _ask(client: httpx.Client, method: str, path: str, **arguments: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
    try:
        answer = client.request(method, path, **arguments)
    except httpx.ConnectError as error:
        raise StackError(f"TorchServe does not listen at {client.base_url}: {START}") from error
    except httpx.TransportError as error:
        raise StackError(f"TorchServe did not answer {method} {path} ({type(error).__name__}): try again") from error
    if answer.is_error:
        raise StackError(f"TorchServe refused {method} {path} with {answer.status_code}: {_reason(answer)}")
    return answer


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase


def _path(version: str) -> str:
    return f"/models/{process.MODEL}/{quote(version, safe='')}"
