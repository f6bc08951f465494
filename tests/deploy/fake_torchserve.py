"""A TorchServe without a JVM or workers: its management and inference APIs, as far as they switch versions."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from deploy.torchserve.management import ModelApi

NAME = "product-photo-detector"
ARCHIVES_WORKERS = 2


def pack(path: Path, version: str) -> Path:
    """Write what looks like an archive of a version."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": {"modelName": NAME, "modelVersion": version}}))
    return path


@dataclass
class Model:
    """A registered version; `polls_until_ready` descriptions show its workers before they are ready."""

    version: str
    archive: str
    workers: int = 0
    polls_until_ready: int = 0
    pending: list[int] = field(default_factory=list)

    def described(self) -> dict[str, Any]:
        self.polls_until_ready -= 1 if self.workers else 0
        status = "UNLOADING" if self.polls_until_ready >= 0 else "READY"
        return {
            "modelName": NAME,
            "modelVersion": self.version,
            "modelUrl": self.archive,
            "minWorkers": self.workers,
            "responseTimeout": 30,
            "workers": [{"id": str(number), "status": status} for number in range(self.workers)],
            "jobQueueStatus": {"remainingCapacity": 200, "pendingRequests": self.pending.pop() if self.pending else 0},
        }


class FakeTorchServe:
    """Keeps versions as TorchServe does, writes down what was done to them, and fails where it is told to."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self.models = {"1.1.0": Model("1.1.0", f"{NAME}.mar", workers=2)}
        self.default = "1.1.0"
        self.done: list[str] = []
        self.calls_itself: dict[str, str] = {}
        self.polls_until_ready = 1

    def api(self) -> ModelApi:
        """Both of its APIs."""
        return ModelApi(
            *(
                httpx.Client(base_url="http://torchserve", transport=httpx.MockTransport(answer))
                for answer in (self._manage, self._predict)
            )
        )

    def _manage(self, request: httpx.Request) -> httpx.Response:
        words = [word for word in request.url.path.split("/") if word != NAME][1:]
        match request.method, words:
            case "GET", ["models"]:
                return _json([self.models[self.default].described()])
            case "GET", ["models", "all"]:
                return _json([model.described() for model in self.models.values()])
            case "POST", ["models"]:
                self._register(request.url.params)
            case "PUT", ["models", version]:
                self.done.append(f"scale {version} to {request.url.params['min_worker']}")
                self.models[version].workers = int(request.url.params["min_worker"])
            case "PUT", ["models", version, "set-default"]:
                self.done.append(f"set {version} live")
                self.default = version
            case "DELETE", ["models", version]:
                self.done.append(f"unregister {version}")
                del self.models[version]
            case _:
                raise AssertionError(request)
        return _json({"status": "done, or being done"})

    def _register(self, query: httpx.QueryParams) -> None:
        assert dict(query) == {"url": query["url"], "model_name": NAME, "synchronous": "false"}
        with zipfile.ZipFile(self._store / query["url"]) as packed:
            version = json.loads(packed.read("MAR-INF/MANIFEST.json"))["model"]["modelVersion"]
        self.done.append(f"register {query['url']}")
        self.models[version] = Model(version, query["url"], ARCHIVES_WORKERS, self.polls_until_ready)

    def _predict(self, request: httpx.Request) -> httpx.Response:
        version = request.url.path.removeprefix(f"/predictions/{NAME}").removeprefix("/") or self.default
        self.done.append(f"ask {version}")
        said = self.calls_itself.get(version, version)
        if said == "trouble":
            return _json({"code": 507, "type": "InternalServerException", "message": "Worker died."}, 507)
        return _json({"model_version": said})


def _json(content: Any, status: int = 200) -> httpx.Response:  # noqa: ANN401 - any JSON
    return httpx.Response(status, json=content)
